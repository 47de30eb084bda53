-- Run by the server with all rights at every start, before the first connection.
-- The Unix user nobody, as which binding commands run, may call these two procedures and nothing else.
CREATE DATABASE IF NOT EXISTS nanocloud;

DELIMITER //

CREATE OR REPLACE DEFINER=mysql@localhost PROCEDURE nanocloud.create_user(IN db VARCHAR(64), IN name VARCHAR(80), IN pass VARCHAR(1024), IN tls BOOLEAN)
SQL SECURITY DEFINER
BEGIN
  DECLARE account VARCHAR(255) DEFAULT CONCAT(QUOTE(name), '@''%''');
  DECLARE quoted VARCHAR(140) DEFAULT CONCAT('`', REPLACE(db, '`', '``'), '`');
  IF db = '' OR LOWER(db) IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'nanocloud') THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this database belongs to the server';
  END IF;
  IF name = '' OR LOWER(name) IN ('root', 'mysql', 'mariadb.sys', 'nobody') THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this user belongs to the server';
  END IF;
  EXECUTE IMMEDIATE CONCAT('CREATE DATABASE IF NOT EXISTS ', quoted);
  EXECUTE IMMEDIATE CONCAT('CREATE USER IF NOT EXISTS ', account);
  EXECUTE IMMEDIATE CONCAT('ALTER USER ', account, ' IDENTIFIED BY ', QUOTE(pass), IF(tls, ' REQUIRE SSL', ' REQUIRE NONE'));
  -- In a grant, _ and % of a database's name are patterns unless escaped.
  EXECUTE IMMEDIATE CONCAT('GRANT ALL PRIVILEGES ON ', REPLACE(REPLACE(quoted, '_', '\\_'), '%', '\\%'), '.* TO ', account);
END//

CREATE OR REPLACE DEFINER=mysql@localhost PROCEDURE nanocloud.revoke_user(IN name VARCHAR(80))
SQL SECURITY DEFINER
BEGIN
  IF name = '' OR LOWER(name) IN ('root', 'mysql', 'mariadb.sys', 'nobody') THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this user belongs to the server';
  END IF;
  EXECUTE IMMEDIATE CONCAT('DROP USER IF EXISTS ', QUOTE(name), '@''%''');
END//

DELIMITER ;

CREATE USER IF NOT EXISTS nobody@localhost IDENTIFIED VIA unix_socket;
GRANT EXECUTE ON PROCEDURE nanocloud.create_user TO nobody@localhost;
GRANT EXECUTE ON PROCEDURE nanocloud.revoke_user TO nobody@localhost;
