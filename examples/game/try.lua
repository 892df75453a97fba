-- A first script of your own: change it and run it again.

local shape = require "shape"
local world = require "world"
local store = world.connect "try"
local players = store:collection "player"

local ann = assert(players:get "p01")
print(("%s has %d gold, %d items, and has traded %d times"):format(ann.name, shape.gold(ann), #ann.bag, ann.stats.trades))

local waves = assert(players:add("p01", "stats.waves", 1)) -- done by the store: no read, no conflict
print(("%s waves, for the %d. time"):format(ann.name, waves))

for key, player in players:scan { limit = 5 } do
  print(key, player.name, shape.gold(player))
end
