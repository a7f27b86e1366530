{{/* What the pods of all components have alike. */}}

{{- define "signalbox.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "signalbox.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where a pod may run, and next to whom. Takes root, component, values, and apart: required, preferred or no, whether two may be on one node. */}}
{{- define "signalbox.podPlacement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (default .root.Values.priorityClassName .values.priorityClassName) }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.affinity }}
affinity:
  {{- toYaml .values.affinity | nindent 2 }}
{{- else if ne .apart "no" }}
affinity:
  podAntiAffinity:
    {{- if eq .apart "required" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "signalbox.selectorLabels" . | nindent 12 }}
    {{- end }}
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- if eq .apart "preferred" }}
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "signalbox.selectorLabels" . | nindent 14 }}
      {{- end }}
      - weight: 50
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector:
            matchLabels:
              {{- include "signalbox.selectorLabels" . | nindent 14 }}
{{- end }}
{{- end -}}

{{/* Fields of a pod's spec, its containers and volumes apart. Takes root, component, and apart. */}}
{{- define "signalbox.pod" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ include "signalbox.componentName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "signalbox.gracePeriod" $values }}
securityContext:
  {{- include "signalbox.podSecurityContext" . | nindent 2 }}
{{- include "signalbox.podPlacement" (dict "root" .root "component" .component "values" $values "apart" (default "no" .apart)) }}
{{- end -}}

{{/* The time that a pod has from SIGTERM on, seconds: its drain, and for what it does after that. Takes the values of a component. */}}
{{- define "signalbox.gracePeriod" -}}
{{ add (max (int .drainSeconds) (int (default 0 .drainMinSeconds))) 40 }}
{{- end -}}

{{/* How pods of a Deployment are replaced whose successors can only come when they have gone. Takes root and component. */}}
{{- define "signalbox.oneAfterTheOther" -}}
strategy:
  rollingUpdate:
    maxSurge: 0
    maxUnavailable: 1
# A successor waits for a whole drain, which is no failure.
progressDeadlineSeconds: {{ add 600 (include "signalbox.gracePeriod" (index .root.Values .component)) }}
{{- end -}}

{{/* How pods of a Deployment in the pods' network are replaced: the new one comes first, unless it might find no node without an old one. Takes root and component. */}}
{{- define "signalbox.replaced" -}}
{{- if eq (index .root.Values .component).apart "required" }}
{{- include "signalbox.oneAfterTheOther" . }}
{{- else -}}
strategy:
  rollingUpdate:
    maxSurge: 1
    maxUnavailable: 0
{{- end }}
{{- end -}}

{{/* Its replicas on different nodes as far as there are any; unlike an affinity this does not count pods that drain. Zones are not named here: nodes that
lack one of the labels are left out of all of it. Takes root and component. */}}
{{- define "signalbox.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "signalbox.selectorLabels" . | nindent 8 }}
{{- end -}}

{{- define "signalbox.podMetadata" -}}
{{- $top := index . 0 -}}
{{- $values := index $top.Values (index . 1) -}}
labels:
  {{- include "signalbox.labels" (dict "root" $top "component" (index . 1)) | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/settings: {{ index . 2 | sha256sum }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* An address of the pod or its node as it stands before a port: one of IPv6 in brackets, which Kubernetes does not give. (list . "HOST_IP") */}}
{{- define "signalbox.host" -}}
{{- printf (ternary "[$(%s)]" "$(%s)" (eq (index . 0).Values.ipFamily "IPv6")) (index . 1) -}}
{{- end -}}

{{/* All addresses of a pod, as they stand before a port. Takes the root. */}}
{{- define "signalbox.anyHost" -}}
{{- ternary "[::]" "0.0.0.0" (eq .Values.ipFamily "IPv6") -}}
{{- end -}}

{{/* The addresses that settings and arguments name as $(POD_IP) and so on: they come first in `env`. */}}
{{- define "signalbox.addresses" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: HOST_IP
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end -}}

{{/* (list . "routing" PORT): liveness is a heartbeat, readiness what the process says of itself. */}}
{{- define "signalbox.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: metrics
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* The start of a container of our own image. Takes root, component, and securityContext if it is another than that of all (YAML). */}}
{{- define "signalbox.container" -}}
{{- $values := index .root.Values .component -}}
image: {{ include "signalbox.image" (dict "root" .root "name" "signalbox") }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- .securityContext | default (include "signalbox.containerSecurityContext" .) | nindent 2 }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
envFrom:
  - configMapRef:
      name: {{ include "signalbox.componentName" . }}
{{- end -}}

{{/* (list . "cluster.key" "cursor.key"): the volume of the keys that a process needs. */}}
{{- define "signalbox.keysVolume" -}}
{{- $top := index . 0 -}}
- name: keys
  secret:
    secretName: {{ include "signalbox.keysSecret" $top }}
    defaultMode: 0440
    items:
    {{- range rest . }}
      - key: {{ . }}
        path: {{ . }}
    {{- end }}
{{- end -}}

{{- define "signalbox.keysSecret" -}}
{{- default (include "signalbox.componentName" (dict "root" . "component" "keys")) .Values.keys.existingSecret -}}
{{- end -}}

{{/* (list . "objects" "database"): volumes of secrets and content that lie elsewhere. */}}
{{- define "signalbox.outsideVolumes" -}}
{{- $top := index . 0 -}}
{{ include "signalbox.etcd.volumes" $top }}
{{ include "signalbox.valkey.volumes" $top }}
{{- if has "objects" . }}
{{- if not $top.Values.objects.s3.bucket }}
- name: objects
  persistentVolumeClaim:
    claimName: {{ default (include "signalbox.componentName" (dict "root" $top "component" "objects")) $top.Values.objects.volume.existingClaim }}
{{- else if $top.Values.objects.s3.secretKey.name }}
- name: s3
  secret:
    secretName: {{ $top.Values.objects.s3.secretKey.name }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- if and (has "database" .) $top.Values.database.url $top.Values.database.passwordSecret.name }}
- name: database
  secret:
    secretName: {{ $top.Values.database.passwordSecret.name }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "signalbox.outsideMounts" -}}
{{- $top := index . 0 -}}
{{ include "signalbox.etcd.mounts" $top }}
{{ include "signalbox.valkey.mounts" $top }}
{{- if has "objects" . }}
{{- if not $top.Values.objects.s3.bucket }}
- name: objects
  mountPath: /var/lib/signalbox/objects
{{- else if $top.Values.objects.s3.secretKey.name }}
- name: s3
  mountPath: /etc/signalbox/s3
  readOnly: true
{{- end }}
{{- end }}
{{- if and (has "database" .) $top.Values.database.url $top.Values.database.passwordSecret.name }}
- name: database
  mountPath: /etc/signalbox/database
  readOnly: true
{{- end }}
{{- end -}}

{{/* A volume of each pod of a StatefulSet. Takes name and persistence: storageClass, size. */}}
{{- define "signalbox.claimTemplate" -}}
- metadata:
    name: {{ .name }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .persistence.storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .persistence.size }}
{{- end -}}

{{/* No process asks Kubernetes for anything: no rights, no token. Takes root and component. */}}
{{- define "signalbox.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "signalbox.componentName" . }}
  labels:
    {{- include "signalbox.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end -}}

{{/* (list . "routing" 7411): the side doors of all pods, for who collects metrics; those too that are not ready, and those that drain: else nobody
would see a drain. Nobody else asks it. */}}
{{- define "signalbox.metricsService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "signalbox.componentName" (dict "root" (index . 0) "component" (index . 1)) }}-metrics
  labels:
    {{- include "signalbox.labels" (dict "root" (index . 0) "component" (index . 1)) | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "signalbox.selectorLabels" (dict "root" (index . 0) "component" (index . 1)) | nindent 4 }}
  ports:
    - name: metrics
      port: {{ index . 2 }}
      targetPort: metrics
{{- end -}}

{{/* (list . "routing" (dict "grpc" 7410)): addresses of all replicas that are ready, for clients who spread over them. */}}
{{- define "signalbox.replicasService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "signalbox.componentName" (dict "root" (index . 0) "component" (index . 1)) }}-replicas
  labels:
    {{- include "signalbox.labels" (dict "root" (index . 0) "component" (index . 1)) | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "signalbox.selectorLabels" (dict "root" (index . 0) "component" (index . 1)) | nindent 4 }}
  ports:
  {{- range $name, $port := index . 2 }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $name }}
  {{- end }}
{{- end -}}
