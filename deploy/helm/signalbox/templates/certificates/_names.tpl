{{/* Who has which certificate. All take the root. */}}

{{/* The Secret with the certificate of provisioning (tls.crt, tls.key) and the authority of its clients (ca.crt). */}}
{{- define "signalbox.provisioning.tlsSecret" -}}
{{- .Values.certificates.provisioning.existingSecret | default (printf "%s-tls" (include "signalbox.componentName" (dict "root" . "component" "provisioning"))) }}
{{- end }}

{{/* The Secret with a client's certificate that may change every rule, if the chart makes one: for trials, or of cert-manager. */}}
{{- define "signalbox.certificates.clientSecret" -}}
{{- if and (or .Values.certificates.generate .Values.certificates.certManager.enabled) (not .Values.certificates.provisioning.existingSecret) }}
{{- printf "%s-tls" (include "signalbox.componentName" (dict "root" . "component" "operator")) }}
{{- end }}
{{- end }}

{{/* The names by which clients know provisioning, as a JSON list. */}}
{{- define "signalbox.provisioning.names" -}}
{{- $name := include "signalbox.componentName" (dict "root" . "component" "provisioning") }}
{{- $names := list $name }}
{{- range $service := list $name (printf "%s-replicas" $name) }}
{{- $names = concat $names (list (printf "%s.%s" $service $.Release.Namespace) (printf "%s.%s.svc" $service $.Release.Namespace) (printf "%s.%s.svc.%s" $service $.Release.Namespace $.Values.clusterDomain)) }}
{{- end }}
{{- concat $names (list "localhost") .Values.certificates.provisioning.names | toJson }}
{{- end }}

{{/* A Certificate of cert-manager. Takes root, component, secret, names (DNS), addresses, usages. */}}
{{- define "signalbox.certificate" -}}
{{- $manager := .root.Values.certificates.certManager }}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ .secret }}
  labels:
    {{- include "signalbox.labels" . | nindent 4 }}
spec:
  secretName: {{ .secret }}
  duration: {{ $manager.duration }}
  renewBefore: {{ $manager.renewBefore }}
  commonName: {{ trunc 64 .secret }}
  {{- with .names }}
  dnsNames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .addresses }}
  ipAddresses:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
  usages:
    {{- toYaml (prepend .usages "digital signature") | nindent 4 }}
  issuerRef:
    {{- toYaml $manager.issuer | nindent 4 }}
{{- end }}
