-- Health of RelayPool, SendingIP and QueueCluster for Argo CD, from the four conditions.
-- Without it Argo CD would call any of them healthy as soon as it exists.
local result = {status = "Progressing", message = "the operator has not looked at this yet"}
local status = obj.status
if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "is being deleted"}
end
if status == nil or status.conditions == nil then
  return result
end
local seen = {}
for _, condition in ipairs(status.conditions) do
  seen[condition.type] = condition
end
local function says(type)
  return seen[type] ~= nil and seen[type].status == "True"
end
local ready = seen["Ready"]
if ready ~= nil and ready.reason == "Paused" then
  return {status = "Suspended", message = ready.message}
end
if status.observedGeneration == nil or status.observedGeneration < (obj.metadata.generation or 0) then
  result.message = "the operator has not acted on the latest change yet"
  return result
end
if says("Stalled") then
  return {status = "Degraded", message = seen["Stalled"].message}
end
if says("Degraded") then
  return {status = "Degraded", message = seen["Degraded"].message}
end
-- Serving, but on its way (rolling, scaling): the other region must not start meanwhile.
if says("Ready") and says("Reconciling") then
  return {status = "Progressing", message = seen["Reconciling"].message}
end
if says("Ready") then
  return {status = "Healthy", message = ready.message}
end
if ready ~= nil then
  result.message = ready.message
end
return result
