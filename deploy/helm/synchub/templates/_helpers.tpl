{{- define "synchub.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "synchub.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "synchub.labels" -}}
{{ include "synchub.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "synchub.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "synchub.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "synchub.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* What the hub would refuse at its start is refused here, before anything is changed. */}}
{{- define "synchub.files" -}}
{{- $hub := .Values.hub -}}
{{- range $key := list "postgres" "kafka" "systems" -}}
{{- if not (get $hub $key) -}}
{{- fail (printf "hub.%s is missing: give the values of hub.yaml under `hub`, as deploy/README.md shows" $key) -}}
{{- end -}}
{{- end -}}
{{- if not .Values.secrets -}}
{{- fail "secrets is missing: the names of Secrets that hold master.key, admin_token and the credentials" -}}
{{- end -}}
{{- range $door, $part := dict "public" "public" "console" "private" -}}
{{- if and (get $.Values.ingress $door).enabled (not (get $hub $part).url) -}}
{{- fail (printf "hub.%s.url is missing: the address of ingress.%s, as https://…" $part $door) -}}
{{- end -}}
{{- end -}}
{{- if and (gt (int .Values.roles.sweep.replicas) 1) (ne .Values.anchor.accessMode "ReadWriteMany") -}}
{{- fail "roles.sweep.replicas: more than one needs anchor.accessMode ReadWriteMany, for all have the one anchor" -}}
{{- end -}}
hub.yaml: |
{{ toYaml $hub | indent 2 }}
rules.yaml: |
{{ required "rules is missing: --set-file rules=rules.yaml; synchub init writes one" .Values.rules | indent 2 }}
{{- end -}}

{{- define "synchub.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Secrets belong to root and are readable through the group of the pod. */}}
{{- define "synchub.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "synchub.mounts" -}}
- {name: files, mountPath: /hub/hub.yaml, subPath: hub.yaml, readOnly: true}
- {name: files, mountPath: /hub/rules.yaml, subPath: rules.yaml, readOnly: true}
- {name: secrets, mountPath: /hub/secrets, readOnly: true}
{{- if or .Values.tls.configMaps .Values.tls.secrets }}
- {name: tls, mountPath: /hub/tls, readOnly: true}
{{- end }}
- {name: state, mountPath: {{ .Values.hub.state | quote }}}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* .root and the name of the ConfigMap with hub.yaml and rules.yaml */}}
{{- define "synchub.volumes" -}}
- name: files
  configMap: {name: {{ .files }}}
- name: secrets
  projected:
    defaultMode: 0400
    sources:
    {{- range .root.Values.secrets }}
    - secret: {name: {{ . | quote }}}
    {{- end }}
{{- with .root.Values.tls }}
{{- if or .configMaps .secrets }}
- name: tls
  projected:
    defaultMode: 0440
    sources:
    {{- range .configMaps }}
    - configMap: {name: {{ . | quote }}}
    {{- end }}
    {{- range .secrets }}
    - secret: {name: {{ . | quote }}}
    {{- end }}
{{- end }}
{{- end }}
- name: state
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- end -}}

{{/* The pod of a role: .root, .role and .its, what the values say of it */}}
{{- define "synchub.pod" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "synchub.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    synchub/files: {{ include "synchub.files" $root | sha256sum }}   # other files, other pods
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "synchub.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  securityContext: {{- include "synchub.podSecurityContext" $root | nindent 4 }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .its.nodeSelector | default $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .its.tolerations | default $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .its.affinity | default $values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "synchub.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .role }}
  containers:
    - name: {{ .role }}
      image: {{ include "synchub.image" $root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [{{ .role }}]
      {{- with .its.env }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: private, containerPort: {{ $values.hub.private.port }}}
        {{- if eq .role "capture" }}
        - {name: public, containerPort: {{ $values.hub.public.port }}}
        {{- end }}
      startupProbe:            # tables are brought to this version, rules are published
        httpGet: {path: /livez, port: private}
        periodSeconds: 2
        failureThreshold: 150
      livenessProbe:
        httpGet: {path: /livez, port: private}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /readyz, port: private}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      {{- if has .role (list "capture" "console") }}
      lifecycle:               # whoever still knows this address is answered
        preStop: {exec: {command: [sleep, "5"]}}
      {{- end }}
      resources: {{- toYaml (.its.resources | default $values.resources) | nindent 8 }}
      securityContext: {{- include "synchub.securityContext" $root | nindent 8 }}
      volumeMounts:
        {{- include "synchub.mounts" $root | nindent 8 }}
        {{- if eq .role "sweep" }}
        - {name: anchor, mountPath: {{ dir $values.hub.anchor | quote }}}
        {{- end }}
  volumes:
    {{- include "synchub.volumes" (dict "root" $root "files" (include "synchub.name" $root)) | nindent 4 }}
{{- end -}}
