{{/* Which version of an API the cluster has. By its own version, too: without a cluster Helm believes that all it knows is there. All take the root. */}}

{{- define "signalbox.api.policy" -}}
{{ ternary "policy/v1" "policy/v1beta1" (and (.Capabilities.APIVersions.Has "policy/v1") (semverCompare ">=1.21-0" .Capabilities.KubeVersion.Version)) }}
{{- end }}

{{- define "signalbox.api.autoscaling" -}}
{{ ternary "autoscaling/v2" "autoscaling/v2beta2" (and (.Capabilities.APIVersions.Has "autoscaling/v2") (semverCompare ">=1.23-0" .Capabilities.KubeVersion.Version)) }}
{{- end }}

{{/* Of CronJob; Jobs are of batch/v1 everywhere. */}}
{{- define "signalbox.api.cron" -}}
{{ ternary "batch/v1" "batch/v1beta1" (semverCompare ">=1.21-0" .Capabilities.KubeVersion.Version) }}
{{- end }}
