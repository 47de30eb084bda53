<?php
/**
 * Health check: the web server runs PHP, and the database lets WordPress in.
 */
require '/usr/lib/nanocloud/settings.php';

mysqli_report(MYSQLI_REPORT_OFF);
[$host, $port] = explode(':', nanocloud_database_host());
$link = mysqli_init();
$link->options(MYSQLI_OPT_CONNECT_TIMEOUT, 3);
$connected = @$link->real_connect(
    $host,
    getenv('WORDPRESS_DATABASE_USER'),
    nanocloud_secret('WORDPRESS_DATABASE_PASSWORD_FILE'),
    getenv('WORDPRESS_DATABASE_NAME'),
    (int) $port,
    null,
    nanocloud_database_flags()
);
http_response_code($connected ? 200 : 503);
header('Content-Type: text/plain');
echo $connected ? "ready\n" : "no database\n";
