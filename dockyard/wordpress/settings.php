<?php
/**
 * Where the database is, and how the connection to it is made: shared by WordPress and the health check.
 */

/** A secret of the platform, from the file that an environment variable names. */
function nanocloud_secret(string $variable): string
{
    $path = getenv($variable);
    $secret = $path === false ? false : file_get_contents($path);
    if ($secret === false) {
        error_log("nanocloud: the secret of $variable cannot be read");
        exit(1);
    }
    return rtrim($secret, "\r\n");
}

/** The database server as host:port. */
function nanocloud_database_host(): string
{
    return getenv('WORDPRESS_DATABASE_HOST') . ':' . (getenv('WORDPRESS_DATABASE_PORT') ?: '3306');
}

/** Flags of the connection: with TLS, the server's certificate and name are verified. */
function nanocloud_database_flags(): int
{
    return getenv('WORDPRESS_DATABASE_CA') ? MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_VERIFY_SERVER_CERT : 0;
}
