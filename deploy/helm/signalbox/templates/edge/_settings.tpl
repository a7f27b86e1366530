{{- define "signalbox.settings.edge" -}}
edge:
  ask_listen: 127.0.0.1:9007
  routing: [{{ include "signalbox.replicas" (list . "routing" 7410) | quote }}]
  {{- if .Values.recorder.enabled }}
  recorders: [{{ include "signalbox.replicas" (list . "recorder" 7430) | quote }}]
  {{- end }}
  state_dir: /var/lib/signalbox/state/edge
  token_file: /run/signalbox/token
  cluster_key_file: /etc/signalbox/keys/cluster.key
  drain_s: {{ .Values.edge.drainSeconds }}
  drain_min_s: {{ .Values.edge.drainMinSeconds }}
  kamailio:
    route_listen: 127.0.0.1:5066
    runtime_dir: /run/signalbox
    event_dir: /var/lib/signalbox/state/events
    ends_with_edge: true
    shared_memory_mb: {{ .Values.edge.kamailio.sharedMemoryMiB }}
    private_memory_mb: {{ .Values.edge.kamailio.privateMemoryMiB }}
    {{- if and .Values.edge.advertise (not .Values.edge.nodes) }}
    advertise: {{ .Values.edge.advertise | quote }}
    {{- end }}
{{- end -}}

{{/* What differs by node, a settings file each. */}}
{{- define "signalbox.edge.node" -}}
[edge.kamailio]
advertise = {{ .advertise | quote }}
{{- with .listen }}
listen = {{ toJson . }}
{{- end }}
{{ end -}}

{{/* Arguments that name the node's file. */}}
{{- define "signalbox.edge.config" -}}
{{- if .Values.edge.nodes }}, --config, /etc/signalbox/nodes/$(NODE_NAME).toml{{ end -}}
{{- end -}}
