{{- /* Settings by their rows in files/settings.json, which is made of the service's own. */ -}}

{{- /* JSON of the variables that `config` or `secretConfig` set: (list values of-secrets). */ -}}
{{- define "qrerank.given" -}}
{{- $found := dict -}}
{{- range $row := index . 2 | fromJsonArray -}}
  {{- if eq $row.secret (index $ 1) -}}
    {{- $value := index $ 0 -}}
    {{- range $row.path -}}
      {{- $value = kindIs "map" $value | ternary (get (kindIs "map" $value | ternary $value dict) .) "" -}}
    {{- end -}}
    {{- if not (or (kindIs "invalid" $value) (and (kindIs "string" $value) (eq $value ""))) -}}
      {{- $_ := set $found $row.variable (kindIs "string" $value | ternary $value (toJson $value)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "qrerank.config" -}}
{{- $given := include "qrerank.given" (list .Values.config false (.Files.Get "files/settings.json")) | fromJson -}}
{{- toJson (merge (dict "QRERANK_DATA_DIR" "/data" "QRERANK_MODEL_DIR" "/models") $given) -}}
{{- end -}}

{{- /* JSON of the secrets that the chart's own Secret holds: those given, and the addresses of what the chart brings. */ -}}
{{- define "qrerank.secrets" -}}
{{- $secrets := include "qrerank.given" (list .Values.secretConfig true (.Files.Get "files/settings.json")) | fromJson -}}
{{- $name := include "qrerank.name" . -}}
{{- if .Values.redis.enabled -}}
  {{- $password := .Values.redis.password | urlquery | replace "+" "%20" -}}
  {{- $_ := set $secrets "QRERANK_QUOTAS__REDIS_URL" (printf "redis://:%s@%s-redis-quotas:6379/0" $password $name) -}}
  {{- $_ := set $secrets "QRERANK_CACHE__REDIS_URL" (printf "redis://:%s@%s-redis-cache:6379/0" $password $name) -}}
{{- end -}}
{{- if .Values.postgresql.enabled -}}
  {{- $password := .Values.postgresql.password | urlquery | replace "+" "%20" -}}
  {{- $_ := set $secrets "QRERANK_AUTH__DATABASE_URL" (printf "postgresql://qrerank:%s@%s-postgresql:5432/qrerank" $password $name) -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}

{{- /* JSON of every secret variable that pods get, and the Secret that holds it. */ -}}
{{- define "qrerank.secretOf" -}}
{{- $of := dict -}}
{{- range $variable, $_ := include "qrerank.secrets" . | fromJson -}}
  {{- $_ := set $of $variable (include "qrerank.name" $) -}}
{{- end -}}
{{- range $variable := .Values.existingSecret.keys -}}
  {{- $_ := set $of $variable $.Values.existingSecret.name -}}
{{- end -}}
{{- toJson $of -}}
{{- end -}}

{{- /* Seconds from SIGTERM in which the service still takes connections, rounded up. */ -}}
{{- define "qrerank.drain" -}}
{{- $config := include "qrerank.config" . | fromJson -}}
{{- get $config "QRERANK_ENGINE__DRAIN_SECONDS" | default "5" | float64 | ceil | int -}}
{{- end -}}

{{- /* What changes with a secret, so that pods begin anew, and tells nothing of it: 16 bits of what scrypt makes of it. A
       plain hash, which whoever may see pods sees, would let them try passwords by the billion. */ -}}
{{- define "qrerank.secretChecksum" -}}
{{- derivePassword 1 "maximum" . "checksum" "quantum-rerank" | sha256sum | trunc 4 | quote -}}
{{- end -}}
