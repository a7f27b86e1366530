{{/* A component grows with its own load and shrinks slowly, for what goes has to drain first, and a busy hour has lulls.
Takes root, component, kind (of what is scaled) and values: autoscaling.{minReplicas, maxReplicas, metric, target, cpuPercent, scaleDownSeconds}.
``metric`` is one of the component's own, which an adapter of Prometheus offers as a metric of pods; the average of all pods is held at ``target``. */}}
{{- define "signalbox.hpa" -}}
{{- if not (or .values.metric .values.cpuPercent) }}
{{- fail (printf "%s.autoscaling: give metric, cpuPercent, or both: nothing says how busy it is" .component) }}
{{- end }}
apiVersion: {{ include "signalbox.api.autoscaling" .root }}
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "signalbox.componentName" . }}
  labels:
    {{- include "signalbox.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .kind }}
    name: {{ include "signalbox.componentName" . }}
  minReplicas: {{ .values.minReplicas }}
  maxReplicas: {{ .values.maxReplicas }}
  metrics:
    {{- with .values.metric }}
    - type: Pods
      pods:
        metric:
          name: {{ . }}
        target:
          type: AverageValue
          averageValue: {{ $.values.target | quote }}
    {{- end }}
    {{- with .values.cpuPercent }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
  behavior:
    scaleUp:
      # A peak is met at once; twice as many is enough for a step, for new ones take some seconds to be used.
      stabilizationWindowSeconds: 0
      policies:
        - type: Percent
          value: 100
          periodSeconds: 60
        - type: Pods
          value: 2
          periodSeconds: 60
      selectPolicy: Max
    scaleDown:
      # As many as the last minutes ever needed, and then one after the other.
      stabilizationWindowSeconds: {{ .values.scaleDownSeconds }}
      policies:
        - type: Pods
          value: 1
          periodSeconds: {{ min 1800 .values.scaleDownSeconds }}
      selectPolicy: Max
{{- end }}
