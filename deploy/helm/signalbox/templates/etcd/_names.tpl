{{/* What the other templates of etcd, and all clients of it, have to know about the members. All take the root. */}}

{{- define "signalbox.etcd.fullname" -}}
{{ include "signalbox.componentName" (dict "root" . "component" "etcd") }}
{{- end }}

{{/* Are the members ours? */}}
{{- define "signalbox.etcd.builtIn" -}}
{{- if not .Values.etcd.external.endpoints }}true{{ end }}
{{- end }}

{{/* http, or https if members have certificates for clients. */}}
{{- define "signalbox.etcd.clientScheme" -}}
{{ ternary "https" "http" (ne (include "signalbox.etcd.clientSecret" .) "") }}
{{- end }}

{{- define "signalbox.etcd.peerScheme" -}}
{{ ternary "https" "http" (ne (include "signalbox.etcd.peerSecret" .) "") }}
{{- end }}

{{/* The Secret with the certificate that members show to clients; empty without TLS. */}}
{{- define "signalbox.etcd.clientSecret" -}}
{{- .Values.etcd.tls.clientSecret | default (ternary (printf "%s-tls" (include "signalbox.etcd.fullname" .)) "" .Values.certificates.internal.enabled) }}
{{- end }}

{{- define "signalbox.etcd.peerSecret" -}}
{{- .Values.etcd.tls.peerSecret | default (ternary (printf "%s-peer-tls" (include "signalbox.etcd.fullname" .)) "" .Values.certificates.internal.enabled) }}
{{- end }}

{{/* The name of the headless Service: certificates of all members have it, and clients look for it. */}}
{{- define "signalbox.etcd.peersName" -}}
{{ include "signalbox.etcd.fullname" . }}-peers.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{/* The address of a member that others know it by: its name in the headless Service. Takes root and name. */}}
{{- define "signalbox.etcd.host" -}}
{{ .name }}.{{ include "signalbox.etcd.peersName" .root }}
{{- end }}

{{/* host:port of each member, as a JSON list: the setting etcd.endpoints. */}}
{{- define "signalbox.etcd.endpoints" -}}
{{- if include "signalbox.etcd.builtIn" . }}
{{- $endpoints := list }}
{{- range $n := until (int .Values.etcd.replicas) }}
{{- $name := printf "%s-%d" (include "signalbox.etcd.fullname" $) $n }}
{{- $endpoints = append $endpoints (printf "%s:2379" (include "signalbox.etcd.host" (dict "root" $ "name" $name))) }}
{{- end }}
{{- $endpoints | toJson }}
{{- else }}
{{- .Values.etcd.external.endpoints | toJson }}
{{- end }}
{{- end }}

{{/* All members for --initial-cluster. */}}
{{- define "signalbox.etcd.initialCluster" -}}
{{- $members := list }}
{{- range $n := until (int .Values.etcd.replicas) }}
{{- $name := printf "%s-%d" (include "signalbox.etcd.fullname" $) $n }}
{{- $members = append $members (printf "%s=%s://%s:2380" $name (include "signalbox.etcd.peerScheme" $) (include "signalbox.etcd.host" (dict "root" $ "name" $name))) }}
{{- end }}
{{- join "," $members }}
{{- end }}

{{/* The directory of the data. A restored backup gets the next one: nothing is overwritten, and there is a way back. */}}
{{- define "signalbox.etcd.dataDir" -}}
/var/lib/signalbox/etcd/{{ .generation }}
{{- end }}

{{/* The token of the cluster: another one for restored data, or the two would take each other for one cluster. */}}
{{- define "signalbox.etcd.token" -}}
{{ include "signalbox.etcd.fullname" .root }}-{{ .generation }}
{{- end }}

{{/* Is a backup being restored? Then neither members nor who writes rules run. */}}
{{- define "signalbox.restoring" -}}
{{- if .Values.backup.restore.file }}true{{ end }}
{{- end }}
