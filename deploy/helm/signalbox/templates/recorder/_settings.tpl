{{- define "signalbox.settings.recorder" -}}
recorder:
  listen: 0.0.0.0:7430
  metrics:
    listen: 0.0.0.0:7431
  work_dir: /var/lib/signalbox/work
  drain_s: {{ .Values.recorder.drainSeconds }}
{{ include "signalbox.settings.sealedObjects" . }}
{{ include "signalbox.settings.database" . }}
{{- end -}}
