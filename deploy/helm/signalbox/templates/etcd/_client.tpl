{{/* What a pod needs to be a client of etcd: settings, volumes, mounts. All take the root. */}}

{{/* The Secret with ca.crt, and with tls.crt and tls.key if members ask for them; empty without TLS. */}}
{{- define "signalbox.etcd.trustSecret" -}}
{{- if .Values.etcd.client.tlsSecret }}
{{- .Values.etcd.client.tlsSecret }}
{{- else if and .Values.certificates.internal.enabled (include "signalbox.etcd.builtIn" .) }}
{{- include "signalbox.etcd.fullname" . }}-client-tls
{{- end }}
{{- end }}

{{/* The section etcd of the settings, as environment variables of a ConfigMap (YAML). */}}
{{- define "signalbox.etcd.settings" -}}
SIGNALBOX_ETCD__ENDPOINTS: {{ include "signalbox.etcd.endpoints" . | trim | quote }}
{{- with .Values.etcd.client.username }}
SIGNALBOX_ETCD__USERNAME: {{ . | quote }}
{{- end }}
{{- if .Values.etcd.client.passwordSecret }}
SIGNALBOX_ETCD__PASSWORD_FILE: /etc/signalbox/etcd-password/password
{{- end }}
{{- if include "signalbox.etcd.trustSecret" . | trim }}
SIGNALBOX_ETCD__TLS__CA_FILE: /etc/signalbox/etcd-client/ca.crt
{{- if .Values.etcd.client.serverName }}
SIGNALBOX_ETCD__TLS__SERVER_NAME: {{ .Values.etcd.client.serverName | quote }}
{{- else if include "signalbox.etcd.builtIn" . }}
SIGNALBOX_ETCD__TLS__SERVER_NAME: {{ include "signalbox.etcd.peersName" . }}
{{- end }}
{{- if .Values.etcd.client.certificate }}
SIGNALBOX_ETCD__TLS__CERT_FILE: /etc/signalbox/etcd-client/tls.crt
SIGNALBOX_ETCD__TLS__KEY_FILE: /etc/signalbox/etcd-client/tls.key
{{- end }}
{{- end }}
{{- end }}

{{/* Volumes of the Secrets that the settings name (a YAML list, or nothing). */}}
{{- define "signalbox.etcd.volumes" -}}
{{- with include "signalbox.etcd.trustSecret" . | trim }}
- name: etcd-client
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.etcd.client.passwordSecret }}
- name: etcd-password
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "signalbox.etcd.mounts" -}}
{{- if include "signalbox.etcd.trustSecret" . | trim }}
- name: etcd-client
  mountPath: /etc/signalbox/etcd-client
  readOnly: true
{{- end }}
{{- if .Values.etcd.client.passwordSecret }}
- name: etcd-password
  mountPath: /etc/signalbox/etcd-password
  readOnly: true
{{- end }}
{{- end }}
