{{/* The Secret with an operator's client certificate for provisioning: given, or that of `helm test`. */}}
{{- define "signalbox.loadtest.clientSecret" -}}
{{- .Values.loadtest.clientSecret | default (include "signalbox.tests.clientSecret" .) }}
{{- end }}

{{/* The spec of a pod of a load test. Takes root, component, container (its name), args (a list). */}}
{{- define "signalbox.loadtest.pod" -}}
{{- $loadtest := .root.Values.loadtest -}}
restartPolicy: Never
{{- /* A call is known by the address that it comes from, and sound must come from the address that SDP tells: the node's is nobody's to translate. */}}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
serviceAccountName: {{ include "signalbox.componentName" (dict "root" .root "component" "loadtest") }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "signalbox.podPlacement" (dict "root" .root "component" .component "values" $loadtest "apart" "preferred") }}
securityContext:
  {{- include "signalbox.podSecurityContext" .root | nindent 2 }}
containers:
  - name: {{ .container }}
    image: {{ include "signalbox.image" (dict "root" .root "name" "loadtest") }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    {{- if eq .component "loadtest" }}
    ports:
      - name: locust
        containerPort: {{ $loadtest.port }}
    {{- end }}
    securityContext:
      {{- include "signalbox.containerSecurityContext" .root | nindent 6 }}
    resources:
      {{- toYaml $loadtest.resources | nindent 6 }}
    volumeMounts:
      - name: client
        mountPath: /etc/signalbox/client
        readOnly: true
      - name: report
        mountPath: /var/lib/signalbox
      - name: tmp
        mountPath: /tmp
volumes:
  - name: client
    secret:
      secretName: {{ include "signalbox.loadtest.clientSecret" .root }}
      defaultMode: 0440
  - name: report
    {{- if and $loadtest.existingClaim (eq .component "loadtest") }}
    persistentVolumeClaim:
      claimName: {{ $loadtest.existingClaim }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  - name: tmp
    emptyDir: {}
{{- end }}
