{{/* Settings in the shape of the settings file as environment variables, and what follows from the chart. */}}

{{/* (dict "tree" TREE "prefix" "SIGNALBOX_"): a line for each setting. Lists are JSON, as docs/configuration.md says. */}}
{{- define "signalbox.environment" -}}
{{- range $key, $value := .tree -}}
{{- $name := printf "%s%s" $.prefix (upper $key) -}}
{{- if kindIs "map" $value }}
{{- include "signalbox.environment" (dict "tree" $value "prefix" (printf "%s__" $name)) -}}
{{- else }}
{{ $name }}: {{ include "signalbox.value" $value | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Helm reads every number as a floating one. */}}
{{- define "signalbox.value" -}}
{{- if kindIs "slice" . -}}{{ toJson . }}
{{- else if kindIs "float64" . -}}{{ if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else if kindIs "invalid" . -}}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* (list . "routing" COMPUTED): the ConfigMap of a component: what all have, what follows from the chart, what the values say. */}}
{{- define "signalbox.settings" -}}
{{- $top := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := (index $top.Values $component).settings -}}
{{- range $where, $settings := dict "settings" $top.Values.settings (printf "%s.settings" $component) $own }}
{{- range $path, $instead := fromYaml (include "signalbox.settings.ofTheChart" $component) }}
{{- if include "signalbox.settings.has" (dict "tree" $settings "path" (printf "%s.%s" $component $path)) }}
{{- fail (printf "%s.%s.%s: %s" $where $component $path $instead) }}
{{- end }}
{{- end }}
{{- end }}
{{- $tree := mustMergeOverwrite (dict) (index . 2) (deepCopy $top.Values.settings) (deepCopy $own) -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "signalbox.componentName" (dict "root" $top "component" $component) }}
  labels:
    {{- include "signalbox.labels" (dict "root" $top "component" $component) | nindent 4 }}
data:
  {{- $own := fromYaml (include "signalbox.environment" (dict "tree" $tree "prefix" "SIGNALBOX_")) }}
  {{- $stores := fromYaml (printf "%s\n%s\n%s" (include "signalbox.etcd.settings" $top) (include "signalbox.valkey.settings" $top) (include "signalbox.internal.settings" (dict "root" $top "component" $component))) }}
  {{- toYaml (mustMerge $own $stores) | nindent 2 }}
{{- end -}}

{{/* Of provisioning, media, recorder and ivr. */}}
{{- define "signalbox.settings.objects" -}}
objects:
{{- if .Values.objects.s3.bucket }}
  location: {{ printf "s3://%s" .Values.objects.s3.bucket | quote }}
  s3:
    region: {{ .Values.objects.s3.region | quote }}
    {{- with .Values.objects.s3.endpoint }}
    endpoint: {{ . | quote }}
    {{- end }}
    {{- with .Values.objects.s3.accessKeyId }}
    access_key_id: {{ . | quote }}
    {{- end }}
    {{- if .Values.objects.s3.secretKey.name }}
    secret_key_file: /etc/signalbox/s3/{{ .Values.objects.s3.secretKey.key }}
    {{- end }}
{{- else }}
  location: /var/lib/signalbox/objects/content
{{- end }}
{{- end -}}

{{/* Of those two that seal and unseal what is kept there. */}}
{{- define "signalbox.settings.sealedObjects" -}}
{{ include "signalbox.settings.objects" . }}
  master_key_file: /etc/signalbox/keys/objects.key
{{- end -}}

{{/* Of provisioning and recorder. */}}
{{- define "signalbox.settings.database" -}}
{{- if not .Values.database.url }}
{{- if .Values.objects.s3.bucket }}
{{- fail "database.url: name a PostgreSQL, as SQLite would lie on the volume of the objects, and with objects.s3.bucket there is none" }}
{{- else if and (ne .Values.objects.volume.accessMode "ReadWriteOnce") (not .Values.database.sqliteOnSeveralNodes) }}
{{- fail "database.url: name a PostgreSQL, as SQLite is for one node, and objects.volume.accessMode says that there are several; for trials on one disk database.sqliteOnSeveralNodes=true allows it" }}
{{- end }}
{{- end }}
database:
{{- if .Values.database.url }}
  url: {{ .Values.database.url | quote }}
  {{- if .Values.database.passwordSecret.name }}
  password_file: /etc/signalbox/database/{{ .Values.database.passwordSecret.key }}
  {{- end }}
{{- else }}
  url: sqlite:////var/lib/signalbox/objects/signalbox.db
{{- end }}
{{- end -}}

{{/* Settings of a component that other objects of the chart know, too, and what is to be given instead, by their paths (YAML). Takes the component. */}}
{{- define "signalbox.settings.ofTheChart" -}}
{{- $grace := "which the grace period of the pods follows" }}
{{- $known := "the chart gives it, and its Services, probes and policies know it" }}
drain_s: {{ printf "give %s.drainSeconds, %s" . $grace }}
drain_min_s: {{ printf "give %s.drainMinSeconds, %s" . $grace }}
id: {{ $known }}
listen: {{ $known }}
metrics.listen: {{ $known }}
{{- if eq . "edge" }}
{{- range $name, $value := dict "listen" "edge.port, or edge.nodes" "advertise" "edge.advertise, or edge.nodes" }}
kamailio.{{ $name }}: {{ printf "give %s, which policies, load balancer and test call follow" $value }}
{{- end }}
{{- else if eq . "media" }}
control: give media.controlPort, which the policies follow
captures.listen: {{ $known }}
voice.listen: {{ $known }}
{{- else if eq . "provisioning" }}
keys_listen: give provisioning.apiKeys.enabled, which the Service follows
{{- end }}
{{- end -}}

{{/* Is a setting in a tree of settings? Takes tree and path (routing.metrics.listen). */}}
{{- define "signalbox.settings.has" -}}
{{- $tree := .tree }}
{{- $names := splitList "." .path }}
{{- range initial $names }}
{{- $tree = ternary (get (ternary $tree (dict) (kindIs "map" $tree)) .) (dict) (kindIs "map" $tree) }}
{{- end }}
{{- if kindIs "map" $tree }}
{{- if hasKey $tree (last $names) }}true{{ end }}
{{- end }}
{{- end -}}

{{/* Clients find all replicas of a headless service: "dns:NAME:PORT". (list . "routing" 7410) */}}
{{- define "signalbox.replicas" -}}
{{- $top := index . 0 -}}
dns:{{ include "signalbox.componentName" (dict "root" $top "component" (index . 1)) }}-replicas.{{ $top.Release.Namespace }}.svc.{{ $top.Values.clusterDomain }}:{{ index . 2 }}
{{- end -}}
