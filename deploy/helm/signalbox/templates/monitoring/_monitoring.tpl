{{/* Is what Prometheus' operator knows to be made? `auto`: if the cluster knows it. Takes root and enabled. */}}
{{- define "signalbox.monitored" -}}
{{- $enabled := toString .enabled }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}true{{ end }}
{{- end }}

{{/* The ports of side doors by component, as JSON. Each worker of a routing replica has one, at ports one after the other. */}}
{{- define "signalbox.sideDoors" -}}
{{- $all := dict "edge" 7401 "media" 7441 "provisioning" 7421 "ivr" 7461 "recorder" 7431 }}
{{- $doors := dict }}
{{- range $component, $port := $all }}
{{- if (index $.Values $component).enabled }}
{{- $_ := set $doors $component (list $port) }}
{{- end }}
{{- end }}
{{- if .Values.routing.enabled }}
{{- $_ := set $doors "routing" (untilStep 7411 (int (add 7411 (dig "routing" "workers" 1 .Values.routing.settings))) 1) }}
{{- end }}
{{- if include "signalbox.etcd.builtIn" . }}
{{- $_ := set $doors "etcd" (list 2381) }}
{{- end }}
{{- $doors | toJson }}
{{- end }}
