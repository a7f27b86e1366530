{{/* Addresses of RTP that interfaces name (name/address!advertised), those that the pod gets apart (JSON). Takes the root. */}}
{{- define "signalbox.media.hosts" -}}
{{- $interfaces := list }}
{{- range .Values.media.nodes }}
{{- $interfaces = concat $interfaces .interfaces }}
{{- end }}
{{- $hosts := list }}
{{- range $interfaces | default .Values.media.interfaces }}
{{- $hosts = concat $hosts (regexReplaceAll "^[^/]*/" . "" | splitList "!") }}
{{- end }}
{{- without ($hosts | uniq) "$(HOST_IP)" "$(POD_IP)" | toJson }}
{{- end -}}

{{/* Of rtpengine, in the order of media/rtpengine_config.py. */}}
{{- define "signalbox.media.arguments" -}}
{{- $media := .Values.media -}}
- --config-file={{ if $media.nodes }}/etc/signalbox/nodes/$(NODE_NAME).conf{{ else }}none{{ end }}
- --foreground
- --log-stderr
- --log-level={{ $media.logLevel }}
- --listen-ng={{ include "signalbox.host" (list . "HOST_IP") }}:{{ $media.controlPort }}
- --listen-tcp-ng={{ include "signalbox.host" (list . "HOST_IP") }}:{{ $media.controlPort }}
{{- if not $media.nodes }}
{{- range $media.interfaces }}
- --interface={{ . }}
{{- end }}
{{- end }}
- --port-min={{ $media.ports.first }}
- --port-max={{ $media.ports.last }}
- --max-sessions={{ $media.capacity }}
- --tos=184
- --endpoint-learning=off
- --timeout={{ add $media.heldDeadAfterSeconds 600 }}
- --silent-timeout={{ add $media.heldDeadAfterSeconds 600 }}
- --offer-timeout=600
- --delete-delay=0
- --dtls-cert-cipher=prime256v1
{{- if eq $media.kernelTable "never" }}
- --table=-1
{{- else }}
- --table=0
{{- if eq $media.kernelTable "always" }}
- --no-fallback
{{- end }}
{{- end }}
{{- if .Values.recorder.enabled }}
- --recording-dir=/var/lib/signalbox/state/captures
- --recording-method=pcap
- --recording-format=raw
{{- end }}
{{- if .Values.ivr.enabled }}
- --dtmf-log-dest=127.0.0.1:7451
{{- end }}
- --pidfile=/run/signalbox/rtpengine.pid
{{- end -}}

{{/* Of rtpengine and of its sidecar: (list . "NET_ADMIN"), with what root may do. The kernel's table of packets is root's to fill. Then the
captures are root's, too, and the sidecar that takes them away and ends rtpengine must be the same user: it has no right to a stranger's process. */}}
{{- define "signalbox.media.securityContext" -}}
{{- if eq (first .).Values.media.kernelTable "never" }}
{{- include "signalbox.containerSecurityContext" (first .) }}
{{- else -}}
runAsNonRoot: false
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add: {{ rest . | toJson }}
{{- end }}
{{- end -}}
