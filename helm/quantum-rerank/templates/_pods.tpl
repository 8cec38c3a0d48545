{{- /* What all pods of the chart have in common. */ -}}

{{- /* The restricted Pod Security Standard, as the user with this id. */ -}}
{{- define "qrerank.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "qrerank.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "qrerank.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- /* A volume that one node mounts is found on the node of the pods that serve. */ -}}
{{- define "qrerank.besideTheServer" -}}
{{- if and .Values.persistence.enabled (ne .Values.persistence.accessMode "ReadWriteMany") }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "qrerank.selector" (list . "server") | nindent 12 }}
{{- end }}
{{- end -}}

{{- define "qrerank.secretEnvironment" -}}
{{- range $variable, $secret := include "qrerank.secretOf" . | fromJson }}
- name: {{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ $variable }}}}
{{- end }}
{{- end -}}

{{- define "qrerank.dataVolume" -}}
{{- if .Values.persistence.enabled -}}
- name: data
  persistentVolumeClaim: {claimName: {{ include "qrerank.claim" . | quote }}}
{{- else -}}
- name: data
  emptyDir: {sizeLimit: 64Mi}
{{- end -}}
{{- end -}}
