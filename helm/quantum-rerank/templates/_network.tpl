{{- /* Whom pods reach. */ -}}

{{- define "qrerank.namespaces" -}}
{{- if . -}}
- namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end }}
{{- end -}}

{{- /* JSON of the servers that the chart brings, each with its component and port. */ -}}
{{- define "qrerank.stores" -}}
{{- $stores := list -}}
{{- if .Values.redis.enabled -}}
  {{- $stores = list (dict "component" "redis-quotas" "port" 6379) (dict "component" "redis-cache" "port" 6379) -}}
{{- end -}}
{{- if .Values.postgresql.enabled -}}
  {{- $stores = append $stores (dict "component" "postgresql" "port" 5432) -}}
{{- end -}}
{{- toJson $stores -}}
{{- end -}}

{{- define "qrerank.egress" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  to:
    {{- include "qrerank.namespaces" .Values.networkPolicy.dnsNamespaces | nindent 4 }}
    - ipBlock: {cidr: 169.254.20.10/32} # a node's own cache of names, where there is one
{{- range include "qrerank.stores" . | fromJsonArray }}
- ports: [{port: {{ .port }}}]
  to:
    - podSelector:
        matchLabels:
          {{- include "qrerank.selector" (list $ .component) | nindent 10 }}
{{- end }}
{{- range .Values.networkPolicy.egress }}
- ports: [{port: {{ .port }}}]
  to: [{ipBlock: {cidr: {{ .cidr | quote }}}}]
{{- end }}
{{- end -}}
