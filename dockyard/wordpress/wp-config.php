<?php
/**
 * WordPress' configuration, made of what the platform gives to the container. No secret is in it.
 */
require_once '/usr/lib/nanocloud/settings.php';

define('DB_NAME', getenv('WORDPRESS_DATABASE_NAME'));
define('DB_USER', getenv('WORDPRESS_DATABASE_USER'));
define('DB_PASSWORD', nanocloud_secret('WORDPRESS_DATABASE_PASSWORD_FILE'));
define('DB_HOST', nanocloud_database_host());
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
define('MYSQL_CLIENT_FLAGS', nanocloud_database_flags());
$table_prefix = 'wp_';

// Eight independent keys from one secret.
$nanocloud_keys = nanocloud_secret('WORDPRESS_KEYS_FILE');
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $nanocloud_name) {
    define("{$nanocloud_name}_KEY", hash_hmac('sha256', "{$nanocloud_name}_KEY", $nanocloud_keys));
    define("{$nanocloud_name}_SALT", hash_hmac('sha256', "{$nanocloud_name}_SALT", $nanocloud_keys));
}
unset($nanocloud_keys, $nanocloud_name);

// Behind a proxy that speaks TLS to visitors.
if (($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https') {
    $_SERVER['HTTPS'] = 'on';
}
// The site's address: the configured one, or that of the request if it is well-formed.
$nanocloud_url = getenv('WORDPRESS_URL');
if (!$nanocloud_url) {
    $nanocloud_host = $_SERVER['HTTP_HOST'] ?? '';
    if (!preg_match('/^[a-z0-9.-]+(:[0-9]{1,5})?$|^\[[0-9a-f:]+\](:[0-9]{1,5})?$/i', $nanocloud_host)) {
        $nanocloud_host = 'localhost:8080';
    }
    $nanocloud_url = (($_SERVER['HTTPS'] ?? '') === 'on' ? 'https://' : 'http://') . $nanocloud_host;
    unset($nanocloud_host);
}
define('WP_HOME', rtrim($nanocloud_url, '/'));
define('WP_SITEURL', WP_HOME);
unset($nanocloud_url);

defined('ABSPATH') || define('ABSPATH', '/usr/share/wordpress/');
define('WP_CONTENT_DIR', '/var/lib/wordpress/wp-content');
define('WPMU_PLUGIN_DIR', '/usr/lib/nanocloud/mu-plugins');
define('FS_METHOD', 'direct');
// WordPress itself is updated with its image.
define('WP_AUTO_UPDATE_CORE', false);

require_once ABSPATH . 'wp-settings.php';
