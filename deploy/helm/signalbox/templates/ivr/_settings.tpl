{{- define "signalbox.settings.ivr" -}}
ivr:
  routing: [{{ include "signalbox.replicas" (list . "routing" 7410) | quote }}]
  {{- if .Values.recorder.enabled }}
  recorders: [{{ include "signalbox.replicas" (list . "recorder" 7430) | quote }}]
  {{- end }}
  capacity: {{ .Values.ivr.capacity }}
  state_dir: /var/lib/signalbox/state
  drain_s: {{ .Values.ivr.drainSeconds }}
{{ include "signalbox.settings.objects" . }}
{{- end -}}
