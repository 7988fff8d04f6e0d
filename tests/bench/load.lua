-- Load for wrk: 64 different texts of 64 words in turn. SIDE=seqd sends words
-- to /sentiment, SIDE=ort sends the same words' ids. The last line of the
-- output is: requests/s, p50, p90, p99 in ms, failed requests.
-- SPDX-License-Identifier: MIT
local side = os.getenv("SIDE")
local bodies, turn = {}, 0

function init()
   math.randomseed(11)
   for i = 1, 64 do
      local ids = {}
      for t = 1, 64 do ids[t] = math.random(1, 9999) end
      local body
      if side == "seqd" then
         body = '{"input":"w' .. table.concat(ids, " w") .. '"}'
      else
         body = '{"ids":[' .. table.concat(ids, ",") .. "]}"
      end
      bodies[i] = wrk.format("POST", side == "seqd" and "/sentiment" or "/",
         { ["Content-Type"] = "application/json" }, body)
   end
end

function request()
   turn = turn % 64 + 1
   return bodies[turn]
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format("result %.1f %.3f %.3f %.3f %d\n",
      summary.requests / (summary.duration / 1e6),
      latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
      latency:percentile(99) / 1e3,
      e.connect + e.read + e.write + e.status + e.timeout))
end
