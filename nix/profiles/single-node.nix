# One machine that is everything: API, keyspace, controllers and pods.
{
  services.nanocloud.enable = true;
}
