-- Argo CD: resource.customizations.health.failoverctl.dev_FailoverApplication in the ConfigMap argocd-cm.
-- Capacity mode is healthy: the requests are served. A condition of an earlier generation counts as not known yet.
local status = obj.status or {}
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.observedGeneration == nil or obj.metadata.generation == nil or condition.observedGeneration == obj.metadata.generation then
    found[condition.type] = condition
  end
end
local accepted, verified = found["Accepted"], found["Verified"]
if accepted == nil then
  return {status = "Progressing", message = "the controller has not judged this generation yet"}
end
if accepted.status == "False" then
  return {status = "Degraded", message = accepted.message}
end
if verified == nil or verified.status ~= "True" then
  return {status = "Progressing", message = verified and verified.message or "the load balancer has not been asked yet"}
end
if status.mode == "capacity" then
  return {status = "Healthy", message = "mode capacity: " .. (status.why or status.reason or "")}
end
return {status = "Healthy", message = "mode " .. (status.mode or "cost")}
