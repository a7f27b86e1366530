{{/* The Secret with an operator's client certificate for provisioning: given, or what the chart makes. Empty: there is none, and no test. */}}
{{- define "signalbox.tests.clientSecret" -}}
{{- .Values.tests.clientSecret | default (include "signalbox.certificates.clientSecret" .) }}
{{- end }}

{{/* host:port of all proxies that are ready: the name stands for the addresses of their nodes. No call goes through a service. */}}
{{- define "signalbox.tests.proxies" -}}
{{ include "signalbox.componentName" (dict "root" . "component" "edge") }}-replicas.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:{{ .Values.edge.port }}
{{- end }}

{{/* Is there a test? */}}
{{- define "signalbox.tests.there" -}}
{{- if and .Values.tests.enabled .Values.provisioning.enabled (include "signalbox.tests.clientSecret" .) (or .Values.edge.enabled .Values.tests.proxies) }}true{{ end }}
{{- end }}
