{{- define "signalbox.settings.recorder" -}}
recorder:
  listen: "{{ include "signalbox.anyHost" . }}:7430"
  metrics:
    listen: "{{ include "signalbox.anyHost" . }}:7431"
  work_dir: /var/lib/signalbox/work
  drain_s: {{ .Values.recorder.drainSeconds }}
{{ include "signalbox.settings.sealedObjects" . }}
{{ include "signalbox.settings.database" . }}
{{- end -}}
