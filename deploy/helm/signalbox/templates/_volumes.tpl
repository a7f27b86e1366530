{{/* Volumes of some provisioners (folders of a node, NFS) belong to root, whatever fsGroup says. By value, a container that runs before the
others gives them to our user. Takes root, and volumes: mount paths by volume name. */}}
{{- define "signalbox.ownVolumes" -}}
{{- if .root.Values.volumePermissions.enabled }}
initContainers:
  {{- range $volume, $path := .volumes }}
  - name: own-{{ $volume }}
    image: {{ include "signalbox.image" (dict "root" $.root "name" "signalbox") }}
    imagePullPolicy: {{ $.root.Values.image.pullPolicy }}
    command: [/usr/bin/chown, "10001:10001", {{ $path }}]
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
      {{- toYaml $.root.Values.volumePermissions.resources | nindent 6 }}
    volumeMounts:
      - name: {{ $volume }}
        mountPath: {{ $path }}
  {{- end }}
{{- end }}
{{- end }}
