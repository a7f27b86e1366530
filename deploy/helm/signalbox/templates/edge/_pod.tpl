{{- define "signalbox.edge.environment" -}}
env:
  {{- include "signalbox.addresses" . | nindent 2 }}
  - name: SIGNALBOX_EDGE__ID
    value: edge-$(NODE_NAME)
  - name: SIGNALBOX_EDGE__METRICS__LISTEN
    value: "{{ include "signalbox.host" (list . "HOST_IP") }}:7401"
  {{- if not .Values.edge.nodes }}
  - name: SIGNALBOX_EDGE__KAMAILIO__LISTEN
    value: '["{{ include "signalbox.host" (list . "HOST_IP") }}:{{ .Values.edge.port }}"]'
  {{- end }}
{{- end -}}

{{- define "signalbox.edge.mounts" -}}
volumeMounts:
  - name: state
    mountPath: /var/lib/signalbox/state
  - name: run
    mountPath: /run/signalbox
  - name: tmp
    mountPath: /tmp
  - name: keys
    mountPath: /etc/signalbox/keys
    readOnly: true
  {{- if .Values.edge.nodes }}
  - name: nodes
    mountPath: /etc/signalbox/nodes
    readOnly: true
  {{- end }}
  {{- include "signalbox.outsideMounts" (list .) | nindent 2 }}
  {{- include "signalbox.internal.mounts" . | nindent 2 }}
{{- end -}}

{{/* Takes root and component: a folder of the node, which outlives pods, or the pod's own. */}}
{{- define "signalbox.stateVolume" -}}
{{- $values := index .root.Values .component -}}
- name: state
{{- if $values.state.hostPath }}
  hostPath:
    path: {{ printf "%s/%s/%s" (trimSuffix "/" $values.state.hostPath) (include "signalbox.componentName" .) .root.Release.Namespace }}
    type: DirectoryOrCreate
{{- else }}
  emptyDir: {}
{{- end }}
{{- end -}}

{{/* Takes root and component: a folder of the node belongs to root when it is made. */}}
{{- define "signalbox.ownState" -}}
{{- $values := index .root.Values .component -}}
{{- if $values.state.hostPath }}
- name: own-state
  image: {{ include "signalbox.image" (dict "root" .root "name" "signalbox") }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [/usr/bin/chown, "10001:10001", /var/lib/signalbox/state]
  securityContext:
    runAsNonRoot: false
    runAsUser: 0
    runAsGroup: 0
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      add: [CHOWN]
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  volumeMounts:
    - name: state
      mountPath: /var/lib/signalbox/state
{{- end }}
{{- end -}}
