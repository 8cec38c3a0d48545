{{- /* What objects are called, and the labels by which they find each other. Each takes the root, or (list root component). */ -}}

{{- define "qrerank.name" -}}
{{- $release := .Release.Name -}}
{{- $default := ternary $release (printf "%s-%s" $release .Chart.Name) (contains .Chart.Name $release) -}}
{{- .Values.fullnameOverride | default $default | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "qrerank.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "qrerank.labels" -}}
{{- $root := index . 0 -}}
{{ include "qrerank.selector" . }}
app.kubernetes.io/version: {{ $root.Values.image.tag | default $root.Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- end -}}

{{- define "qrerank.serviceAccount" -}}
{{- $account := .Values.serviceAccount -}}
{{- $account.name | default (ternary (include "qrerank.name" .) "default" $account.create) -}}
{{- end -}}

{{- define "qrerank.claim" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-data" (include "qrerank.name" .)) -}}
{{- end -}}

{{- define "qrerank.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
