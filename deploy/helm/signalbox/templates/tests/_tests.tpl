{{/* The Secret with an operator's client certificate for provisioning: given, or what the chart makes. Empty: there is none, and no test. */}}
{{- define "signalbox.tests.clientSecret" -}}
{{- .Values.tests.clientSecret | default (include "signalbox.certificates.clientSecret" .) }}
{{- end }}

{{/* Is there a test? */}}
{{- define "signalbox.tests.there" -}}
{{- if and .Values.tests.enabled .Values.provisioning.enabled (include "signalbox.tests.clientSecret" .) (or .Values.edge.enabled .Values.tests.proxies) }}true{{ end }}
{{- end }}
