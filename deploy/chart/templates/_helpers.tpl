{{/* Name of every object: the release's, with the chart's where that does not contain it. */}}
{{- define "failoverctl.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of what is not in the release's namespace, where two installations must not share it: with the namespace, but for the default one's. */}}
{{- define "failoverctl.sharedName" -}}
{{- if eq .Release.Namespace "failover-system" -}}
{{- include "failoverctl.fullname" . -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace (include "failoverctl.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* By these the pods are selected. Not by the release: one installation a namespace, they would share the Lease. */}}
{{- define "failoverctl.selectorLabels" -}}
app.kubernetes.io/name: failoverctl
{{- end -}}

{{- define "failoverctl.labels" -}}
{{- include "failoverctl.labelsWith" (list . dict) -}}
{{- end -}}

{{- /* The labels of one object: those of all, with its own in place of equal ones. YAML has no key twice. */ -}}
{{- define "failoverctl.labelsWith" -}}
{{- $root := index . 0 -}}
{{ include "failoverctl.selectorLabels" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with merge (deepCopy (index . 1)) $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "failoverctl.serviceAccount" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name: found nothing; with serviceAccount.create: false name the ServiceAccount that exists" -}}
{{- end -}}
{{- .Values.serviceAccount.name | default (include "failoverctl.fullname" .) -}}
{{- end -}}

{{- define "failoverctl.subjects" -}}
- {kind: ServiceAccount, name: {{ include "failoverctl.serviceAccount" . }}, namespace: {{ .Release.Namespace }}}
{{- end -}}

{{- define "failoverctl.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces of routes alone: a namespace with an application is granted more. */}}
{{- define "failoverctl.routeNamespaces" -}}
{{- $routed := .Values.applications.routeNamespaces -}}
{{- range .Values.applications.namespaces -}}{{- $routed = without $routed . -}}{{- end -}}
{{- $routed | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* What the chart decides itself must not be said otherwise in the settings. */}}
{{- define "failoverctl.checkSettings" -}}
{{- $state := dig "kubernetes" "state_namespace" .Release.Namespace .Values.settings -}}
{{- if ne $state .Release.Namespace -}}
{{- fail (printf "settings.kubernetes.state_namespace: found %s; the state is kept in the release's namespace, %s" $state .Release.Namespace) -}}
{{- end -}}
{{- range $name := list "webhook_url" "webhook_url_file" "token_file" "channel" -}}
{{- if dig "slack" $name "" $.Values.settings -}}
{{- fail (printf "settings.slack: found %s in it; put webhook or token into a Secret, name that in slack.existingSecret, and the bot's channel in slack.channel" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.slack.channel (not .Values.slack.existingSecret) -}}
{{- fail "slack.channel: found a channel without slack.existingSecret, which holds the bot's token" -}}
{{- end -}}
{{- if dig "kubernetes" "kubeconfig" "" .Values.settings -}}
{{- fail "settings.kubernetes.kubeconfig: found one; in the cluster the ServiceAccount is used" -}}
{{- end -}}
{{- range $name := list "files" "existingConfigMap" "existingConfigMaps" -}}
{{- if get $.Values.applications $name -}}
{{- fail (printf "applications.%s: found application files; the applications are FailoverApplication objects: apply the files, then set applications.%s=null (docs/from-files.md)" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.settings "applications" -}}
{{- fail "settings.applications: found a path; the applications are FailoverApplication objects: apply the files" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.dryRun) (not (dig "leader_election" "enabled" true .Values.settings)) -}}
{{- fail (printf "settings.leader_election.enabled: found false with %d replicas: all of them would act; allowed: replicas: 1" (int .Values.replicas)) -}}
{{- end -}}
{{- end -}}

{{- define "failoverctl.port" -}}
{{- $port := dig "http" "port" 8080 .Values.settings | int -}}
{{- if not $port -}}{{- fail "settings.http.port: found 0; allowed: 1 to 65535, the probes have to know it" -}}{{- end -}}
{{- $port -}}
{{- end -}}

{{/* The container's variables, "" where it needs none. */}}
{{- define "failoverctl.env" -}}
{{- if ne .Release.Namespace "failover-system" }}
- {name: FAILOVERCTL_KUBERNETES__STATE_NAMESPACE, value: {{ .Release.Namespace }}}
{{- end }}
{{- if .Values.settings }}
- {name: FAILOVERCTL_SETTINGS, value: /etc/failoverctl/settings/settings.yaml}
{{- end }}
{{- if .Values.slack.existingSecret }}
- {name: FAILOVERCTL_SLACK__{{ if .Values.slack.channel }}TOKEN_FILE{{ else }}WEBHOOK_URL_FILE{{ end }}, value: /etc/failoverctl/slack/{{ .Values.slack.key }}}
{{- with .Values.slack.channel }}
- {name: FAILOVERCTL_SLACK__CHANNEL, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
