{{/* Pieces of network policies: who may talk to whom. Pods in the network of their node (edge, media) are nodes to a policy: it does
not hold for them, and others know them by networkPolicy.nodeCIDRs. */}}

{{/* The head of the policy of a component. Takes root, component. */}}
{{- define "signalbox.policy.head" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "signalbox.componentName" . }}
  labels:
    {{- include "signalbox.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "signalbox.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}

{{/* Pods of components, as peers. Takes root, components. */}}
{{- define "signalbox.policy.pods" -}}
{{- range .components }}
- podSelector:
    matchLabels:
      {{- include "signalbox.selectorLabels" (dict "root" $.root "component" .) | nindent 6 }}
{{- end }}
{{- end }}

{{/* The nodes, as peers. Takes the root. */}}
{{- define "signalbox.policy.nodes" -}}
{{- range .Values.networkPolicy.nodeCIDRs }}
- ipBlock:
    cidr: {{ . }}
{{- end }}
{{- end }}

{{/* Single addresses, as peers. Takes a list. */}}
{{- define "signalbox.policy.hosts" -}}
{{- range . }}
- ipBlock:
    cidr: {{ . }}/{{ ternary 128 32 (contains ":" .) }}
{{- end }}
{{- end }}

{{/* The proxies, as peers: their nodes, and where these listen besides. Takes the root. */}}
{{- define "signalbox.policy.proxies" -}}
{{- include "signalbox.policy.nodes" . }}
{{- include "signalbox.policy.hosts" (include "signalbox.edge.hosts" . | fromJsonArray) }}
{{- end }}

{{/* Ports. Takes ports (a list of numbers) and protocols (default: TCP). */}}
{{- define "signalbox.policy.ports" -}}
{{- range $port := .ports }}
{{- range $protocol := ($.protocols | default (list "TCP")) }}
- port: {{ $port }}
  protocol: {{ $protocol }}
{{- end }}
{{- end }}
{{- end }}

{{/* Incoming: the side door, for probes (which come from the node) and who collects metrics. Takes root, port,
and doors: how many there are, at ports one after the other (1). */}}
{{- define "signalbox.policy.sideDoor" -}}
{{- $ports := list }}
{{- range $n := until (int (.doors | default 1)) }}
{{- $ports = append $ports (add $.port $n) }}
{{- end }}
- from:
    {{- include "signalbox.policy.nodes" .root | nindent 4 }}
    {{- with .root.Values.networkPolicy.monitoring }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- include "signalbox.policy.ports" (dict "ports" $ports) | nindent 4 }}
{{- end }}

{{/* Outgoing: names. Takes the root. */}}
{{- define "signalbox.policy.names" -}}
- to:
    {{- with .Values.networkPolicy.dns }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    - podSelector:
        matchLabels:
          k8s-app: kube-dns
      {{- /* Before 1.21 a namespace has no label of its name. */}}
      {{- if semverCompare ">=1.21-0" .Capabilities.KubeVersion.Version }}
      namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      {{- else }}
      namespaceSelector: {}
      {{- end }}
    {{- end }}
  ports:
    {{- include "signalbox.policy.ports" (dict "ports" .Values.networkPolicy.dnsPorts "protocols" (list "UDP" "TCP")) | nindent 4 }}
{{- end }}

{{/* Outgoing: etcd, ours or another. Takes the root. */}}
{{- define "signalbox.policy.toEtcd" -}}
{{- if include "signalbox.etcd.builtIn" . }}
- to:
    {{- include "signalbox.policy.pods" (dict "root" . "components" (list "etcd")) | nindent 4 }}
  ports:
    {{- include "signalbox.policy.ports" (dict "ports" (list 2379)) | nindent 4 }}
{{- else }}
{{- include "signalbox.policy.external" .Values.networkPolicy.external.etcd }}
{{- end }}
{{- end }}

{{- define "signalbox.policy.toValkey" -}}
{{- if include "signalbox.valkey.builtIn" . }}
- to:
    {{- include "signalbox.policy.pods" (dict "root" . "components" (list "valkey")) | nindent 4 }}
  ports:
    {{- include "signalbox.policy.ports" (dict "ports" (list 6379)) | nindent 4 }}
{{- else }}
{{- include "signalbox.policy.external" .Values.networkPolicy.external.valkey }}
{{- end }}
{{- end }}

{{/* Outgoing: SIP to the proxies by what they are called, which need not be an address of a node. Takes the root. */}}
{{- define "signalbox.policy.toAdvertised" -}}
{{- range include "signalbox.edge.advertised" . | fromJsonArray }}
- to:
    {{- include "signalbox.policy.hosts" (include "signalbox.hosts" (list .) | fromJsonArray) | nindent 4 }}
  ports:
    {{- include "signalbox.policy.ports" (dict "ports" (include "signalbox.ports" (list .) | fromJsonArray) "protocols" (list "UDP" "TCP")) | nindent 4 }}
{{- end }}
{{- end }}

{{/* Outgoing: what is not of the release. Takes a list of {cidr, except, ports} or {pods, ports}. */}}
{{- define "signalbox.policy.external" -}}
{{- range . }}
- to:
    {{- if .pods }}
    - {{- toYaml .pods | nindent 6 }}
    {{- else }}
    - ipBlock:
        cidr: {{ .cidr }}
        {{- with .except }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
    {{- end }}
  ports:
    {{- include "signalbox.policy.ports" (dict "ports" .ports) | nindent 4 }}
{{- end }}
{{- end }}
