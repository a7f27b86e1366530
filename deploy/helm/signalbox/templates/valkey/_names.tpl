{{/* What clients of valkey have to know. All take the root. */}}

{{- define "signalbox.valkey.fullname" -}}
{{ include "signalbox.componentName" (dict "root" . "component" "valkey") }}
{{- end }}

{{- define "signalbox.valkey.builtIn" -}}
{{- if not .Values.valkey.external.address }}true{{ end }}
{{- end }}

{{/* host:port of the primary: the setting redis.address. */}}
{{- define "signalbox.valkey.address" -}}
{{- if include "signalbox.valkey.builtIn" . -}}
{{ include "signalbox.valkey.fullname" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:6379
{{- else -}}
{{ .Values.valkey.external.address }}
{{- end }}
{{- end }}

{{/* The section redis of the settings, as environment variables of a ConfigMap (YAML). */}}
{{- define "signalbox.valkey.settings" -}}
SIGNALBOX_REDIS__ADDRESS: {{ include "signalbox.valkey.address" . | trim | quote }}
{{- if not (include "signalbox.valkey.builtIn" .) }}
SIGNALBOX_REDIS__DATABASE: {{ .Values.valkey.external.database | quote }}
{{- with .Values.valkey.external.username }}
SIGNALBOX_REDIS__USERNAME: {{ . | quote }}
{{- end }}
{{- if .Values.valkey.external.tlsSecret }}
SIGNALBOX_REDIS__TLS__CA_FILE: /etc/signalbox/valkey-client/ca.crt
{{- end }}
{{- end }}
{{- if .Values.valkey.passwordSecret }}
SIGNALBOX_REDIS__PASSWORD_FILE: /etc/signalbox/valkey-password/password
{{- end }}
{{- end }}

{{- define "signalbox.valkey.volumes" -}}
{{- with .Values.valkey.external.tlsSecret }}
- name: valkey-client
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.valkey.passwordSecret }}
- name: valkey-password
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "signalbox.valkey.mounts" -}}
{{- if .Values.valkey.external.tlsSecret }}
- name: valkey-client
  mountPath: /etc/signalbox/valkey-client
  readOnly: true
{{- end }}
{{- if .Values.valkey.passwordSecret }}
- name: valkey-password
  mountPath: /etc/signalbox/valkey-password
  readOnly: true
{{- end }}
{{- end }}
