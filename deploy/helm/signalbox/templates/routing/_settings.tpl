{{- define "signalbox.settings.routing" -}}
routing:
  listen: "{{ include "signalbox.anyHost" . }}:7410"
  metrics:
    listen: "{{ include "signalbox.anyHost" . }}:7411"
  snapshot_file: /var/lib/signalbox/state/rules.snapshot
  drain_s: {{ .Values.routing.drainSeconds }}
  drain_min_s: {{ .Values.routing.drainMinSeconds }}
  cursor_key_file: /etc/signalbox/keys/cursor.key
  password_key_file: /etc/signalbox/keys/password.key
{{- end -}}
