{{/* The claim on the volume with the backups. Takes the root. */}}
{{- define "signalbox.backup.claim" -}}
{{ .Values.backup.persistence.existingClaim | default (include "signalbox.componentName" (dict "root" . "component" "backup")) }}
{{- end }}
