{{- define "signalbox.settings.provisioning" -}}
provisioning:
  listen: "{{ include "signalbox.anyHost" . }}:7420"
  metrics:
    listen: "{{ include "signalbox.anyHost" . }}:7421"
  drain_s: {{ .Values.provisioning.drainSeconds }}
  {{- if .Values.provisioning.apiKeys.enabled }}
  keys_listen: "{{ include "signalbox.anyHost" . }}:7422"
  {{- end }}
  tls:
    cert_file: /etc/signalbox/tls/tls.crt
    key_file: /etc/signalbox/tls/tls.key
    ca_file: /etc/signalbox/tls/ca.crt
  routing: [{{ include "signalbox.replicas" (list . "routing" 7410) | quote }}]
  bulk:
    store_quota_mb: {{ .Values.etcd.quotaMiB }}
  audit:
    directory: /var/lib/signalbox/state/audit
    replicas: [{{ include "signalbox.replicas" (list . "provisioning" 7420) | quote }}]
    tls:
      cert_file: /etc/signalbox/tls/tls.crt
      key_file: /etc/signalbox/tls/tls.key
      ca_file: /etc/signalbox/tls/ca.crt
      server_name: {{ include "signalbox.componentName" (dict "root" . "component" "provisioning") }}
  password_key_file: /etc/signalbox/keys/password.key
{{ include "signalbox.settings.sealedObjects" . }}
{{ include "signalbox.settings.database" . }}
{{- end -}}
