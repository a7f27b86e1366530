{{/* TLS between the components (certificates.internal). Servers show a certificate, clients check whose authority and which name it is of: the name
of the component, for addresses are those of pods and nodes. Who may call is up to the network policies. */}}

{{/* What each component is to others: servers by the setting that they listen with, clients by setting and server.
Takes root. */}}
{{- define "signalbox.internal.parties" -}}
routing: {serves: [routing.tls]}
recorder: {serves: [recorder.tls], calls: {recorder.captures_tls: media}}
media: {serves: {{ .root.Values.recorder.enabled | ternary (list "media.captures.tls") list | concat (.root.Values.ivr.enabled | ternary (list "media.voice.tls") list) | toJson }}, calls: {media.routing_tls: routing}}
edge: {calls: {edge.routing_tls: routing, edge.recorders_tls: recorder}}
ivr: {calls: {ivr.routing_tls: routing, ivr.recorders_tls: recorder, ivr.voice_tls: media}}
provisioning: {calls: {provisioning.routing_tls: routing, provisioning.captures_tls: media}}
{{- end }}

{{/* Takes root and component: what it serves and calls; empty if there is no TLS inside. */}}
{{- define "signalbox.internal.party" -}}
{{- if .root.Values.certificates.internal.enabled }}
{{- index (include "signalbox.internal.parties" . | fromYaml) .component | toJson }}
{{- end }}
{{- end }}

{{- define "signalbox.internal.secret" -}}
{{ include "signalbox.componentName" . }}-internal-tls
{{- end }}

{{/* Takes root and component: environment variables of the settings (YAML). */}}
{{- define "signalbox.internal.settings" -}}
{{- with include "signalbox.internal.party" . | fromJson }}
{{- range .serves }}
{{- $prefix := printf "SIGNALBOX_%s" (upper . | replace "." "__") }}
{{ $prefix }}__CERT_FILE: /etc/signalbox/internal/tls.crt
{{ $prefix }}__KEY_FILE: /etc/signalbox/internal/tls.key
{{- end }}
{{- range $setting, $server := .calls }}
{{- $prefix := printf "SIGNALBOX_%s" (upper $setting | replace "." "__") }}
{{ $prefix }}__CA_FILE: /etc/signalbox/internal/ca.crt
{{ $prefix }}__SERVER_NAME: {{ include "signalbox.componentName" (dict "root" $.root "component" $server) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes root and component. */}}
{{- define "signalbox.internal.volumes" -}}
{{- if .root.Values.certificates.internal.enabled }}
- name: internal
  secret:
    secretName: {{ include "signalbox.internal.secret" . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* Takes the root. */}}
{{- define "signalbox.internal.mounts" -}}
{{- if .Values.certificates.internal.enabled }}
- name: internal
  mountPath: /etc/signalbox/internal
  readOnly: true
{{- end }}
{{- end }}
