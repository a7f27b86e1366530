{{/* Names, labels, images. Where a template takes root and component, it is (dict "root" $ "component" "routing"). */}}

{{- define "signalbox.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 30 | trimSuffix "-" -}}
{{- end -}}

{{/* 30 characters at most: names of pods have 63, and what is added to a component's name takes its part. */}}
{{- define "signalbox.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc (int (sub 29 (len $name))) | trimSuffix "-") $name | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of a component's objects. Takes root and component. */}}
{{- define "signalbox.componentName" -}}
{{- printf "%s-%s" (include "signalbox.fullname" .root) .component -}}
{{- end -}}

{{/* Takes root and component. */}}
{{- define "signalbox.selectorLabels" -}}
app.kubernetes.io/name: {{ include "signalbox.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Takes root and component. */}}
{{- define "signalbox.labels" -}}
{{ include "signalbox.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image of ours. Takes root and name: signalbox, kamailio, rtpengine. */}}
{{- define "signalbox.image" -}}
{{- $image := index .root.Values.image .name -}}
{{- $tag := default .root.Chart.AppVersion $image.tag -}}
{{- include "signalbox.imageOf" (dict "root" .root "image" (dict "registry" .root.Values.image.registry "repository" $image.repository "tag" $tag "digest" $image.digest)) -}}
{{- end -}}

{{/* Takes root and image: registry, repository, tag, digest. A digest wins over the tag. */}}
{{- define "signalbox.imageOf" -}}
{{- with .image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag }}{{ end -}}
{{- end -}}
