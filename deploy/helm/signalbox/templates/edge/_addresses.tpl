{{/* Where proxies listen and what they are called by, as policies, load balancer and test call must know it. All take the root. */}}

{{/* Ports at which proxies listen, those of nodes of their own included (JSON, in order). */}}
{{- define "signalbox.edge.ports" -}}
{{- $listen := list }}
{{- range .Values.edge.nodes }}
{{- $listen = concat $listen .listen }}
{{- end }}
{{- include "signalbox.ports" $listen | fromJsonArray | default (list (int .Values.edge.port)) | toJson }}
{{- end -}}

{{/* Ports of addresses, host:port (JSON, in order). Takes a list. */}}
{{- define "signalbox.ports" -}}
{{- $ports := list }}
{{- range . }}
{{- $ports = append $ports (int (regexFind "[0-9]+$" .)) }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end -}}

{{/* Addresses, host:port, that proxies write into Via and Record-Route instead of those of their nodes (JSON). Workers with voice call proxies by them. */}}
{{- define "signalbox.edge.advertised" -}}
{{- $addresses := list }}
{{- range .Values.edge.nodes }}
{{- $addresses = append $addresses .advertise }}
{{- end }}
{{- if and .Values.edge.advertise (not .Values.edge.nodes) }}
{{- $addresses = append $addresses .Values.edge.advertise }}
{{- end }}
{{- $addresses | uniq | toJson }}
{{- end -}}

{{/* Hosts of addresses, host:port, those that stand for all of a node left out (JSON). Takes a list. */}}
{{- define "signalbox.hosts" -}}
{{- $hosts := list }}
{{- range . }}
{{- $hosts = append $hosts (regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]") }}
{{- end }}
{{- without ($hosts | uniq) "0.0.0.0" "::" | toJson }}
{{- end -}}

{{/* Addresses at which nodes listen that say so themselves (JSON): they need not be those that Kubernetes knows the nodes by. */}}
{{- define "signalbox.edge.hosts" -}}
{{- $listen := list }}
{{- range .Values.edge.nodes }}
{{- $listen = concat $listen .listen }}
{{- end }}
{{- include "signalbox.hosts" $listen }}
{{- end -}}

{{/* A name with the addresses of the nodes of all proxies that are ready. */}}
{{- define "signalbox.edge.ready" -}}
{{- printf "%s-replicas.%s.svc.%s" (include "signalbox.componentName" (dict "root" . "component" "edge")) .Release.Namespace .Values.clusterDomain }}
{{- end -}}

{{/* host:port of every proxy, for who calls them one by one (JSON): of nodes that are named, their names before it (node=host:port), the first address at
which each listens, and what it is called by if that is any; else the name of all that are ready. No call goes through a service. */}}
{{- define "signalbox.edge.proxies" -}}
{{- $proxies := list }}
{{- range $node, $there := .Values.edge.nodes }}
{{- $first := first $there.listen }}
{{- $proxies = append $proxies (printf "%s=%s" $node (ternary $there.advertise $first (regexMatch "^(0\\.0\\.0\\.0|\\[::\\]):" $first))) }}
{{- end }}
{{- $proxies | default (list (printf "%s:%d" (include "signalbox.edge.ready" .) (int .Values.edge.port))) | toJson }}
{{- end -}}
