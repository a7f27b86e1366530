{{- define "signalbox.settings.media" -}}
{{- $ports := sub (add .Values.media.ports.last 1) .Values.media.ports.first }}
{{- if lt (int $ports) (int (mul 4 .Values.media.capacity)) }}
{{- fail (printf "media.ports: %d ports are too few for media.capacity (%d calls), as each takes four" (int $ports) (int .Values.media.capacity)) }}
{{- end }}
media:
  capacity: {{ .Values.media.capacity }}
  routing: [{{ include "signalbox.replicas" (list . "routing" 7410) | quote }}]
  drain_s: {{ .Values.media.drainSeconds }}
  held_dead_after_s: {{ .Values.media.heldDeadAfterSeconds }}
  daemon_pid_file: /run/signalbox/rtpengine.pid
  {{- if .Values.recorder.enabled }}
  captures:
    spool_dir: /var/lib/signalbox/state/captures
  {{- end }}
  {{- if .Values.ivr.enabled }}
  voice:
    cache_dir: /var/lib/signalbox/state/audio
    cache_mb: {{ .Values.media.audioCacheMiB }}
    keys_listen: 127.0.0.1:7451
  {{- end }}
{{ include "signalbox.settings.objects" . }}
{{- end -}}
