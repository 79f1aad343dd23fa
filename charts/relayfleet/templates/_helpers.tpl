{{- define "relayfleet.labels" -}}
app.kubernetes.io/name: relayfleet
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "relayfleet.name" -}}
{{- if contains "relayfleet" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-relayfleet" .Release.Name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "relayfleet.image" -}}
{{- $path := .Values.image.repository }}
{{- if .Values.image.registry }}{{ $path = printf "%s/%s" .Values.image.registry .Values.image.repository }}{{ end }}
{{- if .Values.image.digest }}{{ printf "%s@%s" $path .Values.image.digest }}{{ else }}{{ printf "%s:%s" $path (.Values.image.tag | default .Chart.AppVersion) }}{{ end }}
{{- end }}
