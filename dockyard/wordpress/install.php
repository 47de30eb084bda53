<?php
/**
 * Installs WordPress at the first start and brings the tables up to date after that. Run from the command
 * line before the web server starts.
 *
 * A table marks an installation that is under way: one that was interrupted is cleared and begun anew, a
 * finished one (also from a backup) is never touched.
 */
const MARK = 'nanocloud_installing';
const ATTEMPTS = 60;

if (PHP_SAPI !== 'cli') {
    exit(1);
}
require '/usr/lib/nanocloud/settings.php';

/** Waits until the database answers; it may start at the same time as this service. */
function nanocloud_connect(): mysqli
{
    mysqli_report(MYSQLI_REPORT_OFF);
    [$host, $port] = explode(':', nanocloud_database_host());
    $user = getenv('WORDPRESS_DATABASE_USER');
    $name = getenv('WORDPRESS_DATABASE_NAME');
    $password = nanocloud_secret('WORDPRESS_DATABASE_PASSWORD_FILE');
    for ($attempt = 1; ; $attempt++) {
        $link = mysqli_init();
        // The warning repeats what mysqli_connect_error() says.
        if (@$link->real_connect($host, $user, $password, $name, (int) $port, null, nanocloud_database_flags())) {
            return $link;
        }
        if ($attempt === ATTEMPTS) {
            fwrite(STDERR, "wordpress: no connection to the database at $host:$port: " . mysqli_connect_error() . "\n");
            exit(1);
        }
        if ($attempt % 10 === 1) {
            fwrite(STDERR, "wordpress: waiting for the database at $host:$port: " . mysqli_connect_error() . "\n");
        }
        sleep(1);
    }
}

/** @return string[] first column of every row */
function nanocloud_column(mysqli $link, string $query): array
{
    $result = $link->query($query);
    if ($result === false) {
        fwrite(STDERR, "wordpress: the database refused a query: {$link->error}\n");
        exit(1);
    }
    return $result === true ? [] : array_column($result->fetch_all(), 0);
}

$link = nanocloud_connect();
$cipher = $link->query("SHOW STATUS LIKE 'Ssl_cipher'")->fetch_row()[1];
echo 'wordpress: connected to the database, ', $cipher === '' ? "without TLS\n" : "TLS cipher $cipher\n";
$tables = nanocloud_column($link, "SHOW TABLES LIKE 'wp\\_%'");
$interrupted = nanocloud_column($link, "SHOW TABLES LIKE '" . addcslashes(MARK, '_') . "'") !== [];
if ($interrupted) {
    foreach ($tables as $table) {
        nanocloud_column($link, "DROP TABLE IF EXISTS `$table`");
    }
}
$install = $interrupted || $tables === [];
if ($install) {
    nanocloud_column($link, 'CREATE TABLE IF NOT EXISTS ' . MARK . ' (started TIMESTAMP)');
}

/** Replaces WordPress' mail with the new password in it. */
function wp_new_blog_notification(): void
{
}

define('WP_INSTALLING', true);
$_SERVER['HTTP_HOST'] = parse_url(getenv('WORDPRESS_URL') ?: 'http://localhost:8080', PHP_URL_HOST);
$_SERVER['REQUEST_METHOD'] = 'GET';
require '/usr/share/wordpress/wp-load.php';
// Nothing outside is asked while installing: the web server is not up yet.
add_filter('pre_http_request', fn () => new WP_Error('offline', 'not while installing'));
require ABSPATH . 'wp-admin/includes/upgrade.php';

if ($install) {
    wp_install(
        getenv('WORDPRESS_TITLE'),
        getenv('WORDPRESS_ADMIN_USER'),
        getenv('WORDPRESS_ADMIN_EMAIL'),
        getenv('WORDPRESS_PUBLIC') === 'yes',
        '',
        wp_slash(nanocloud_secret('WORDPRESS_ADMIN_PASSWORD_FILE'))
    );
    update_option('permalink_structure', '/%year%/%monthnum%/%day%/%postname%/');
    nanocloud_column($link, 'DROP TABLE ' . MARK);
    echo "wordpress: installed\n";
} elseif ((int) get_option('db_version') !== $wp_db_version) {
    wp_upgrade();
    echo "wordpress: tables brought up to date\n";
}
