# The cluster: nodes, classes, pools, rollouts, placement. Three servers in three failure domains and one worker.
{
  name = "example";
  nodes = {
    node01 = {
      address = "192.0.2.11";
      role = "server";
      pool = "control";
      failureDomain = "rack-a";
    };
    node02 = {
      address = "192.0.2.12";
      role = "server";
      pool = "control";
      failureDomain = "rack-b";
    };
    node03 = {
      address = "192.0.2.13";
      role = "server";
      pool = "control";
      failureDomain = "rack-c";
    };
    worker01 = {
      address = "192.0.2.21";
      pool = "workers";
      failureDomain = "rack-a";
      labels."example.org-disk" = "ssd";
    };
  };
  classes = {
    control-plane = {
      configuration = "node01";
      disk = "/dev/disk/by-id/virtio-nanocloud-root";
    };
    worker.configuration = "worker01";
  };
  pools = {
    control = {
      class = "control-plane";
      minSize = 3;
      maxSize = 3;
    };
    workers = {
      class = "worker";
      labels.tier = "general";
    };
  };
  rollouts = {
    control = {
      configuration = "node01";
      selector.pools = [ "control" ];
    };
    workers = {
      configuration = "worker01";
      selector.pools = [ "workers" ];
      healthTimeoutSeconds = 600;
    };
  };
  placements.registry = {
    service = "registry";
    replicas = 2;
    selector.pools = [ "control" ];
    spread = "failureDomain";
  };
}
