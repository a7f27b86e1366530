{{/* At most so many pods of a component are taken away at a time by whoever empties nodes. Takes root, component, maxUnavailable.
Never minAvailable: with as many replicas it would let nobody empty a node. */}}
{{- define "signalbox.pdb" -}}
apiVersion: {{ include "signalbox.api.policy" .root }}
kind: PodDisruptionBudget
metadata:
  name: {{ include "signalbox.componentName" . }}
  labels:
    {{- include "signalbox.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  selector:
    matchLabels:
      {{- include "signalbox.selectorLabels" . | nindent 6 }}
{{- end }}
