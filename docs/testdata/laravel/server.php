<?php

// The router of `artisan serve`: files of public/ as they are, everything else to Laravel.
$file = __DIR__.'/public'.urldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
if (is_file($file)) {
    return false;
}
require __DIR__.'/public/index.php';
