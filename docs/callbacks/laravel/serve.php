<?php

// Serves the documentation's controller for Laravel to the tests of docs/callbacks, with Laravel's own
// Request and Response. `php -S` runs it anew for each request, so the shop remembers in a file and
// writes what it does to another.

namespace App {
    class Shop
    {
        public function fulfil(string $id, string $order): void { $this->once($id, 'fulfilled', $order); }
        public function notPaid(string $id, string $order): void { $this->once($id, 'unpaid', $order); }
        public function askPerson(string $id, string $order): void { $this->once($id, 'asked', $order); }

        private function once(string $id, string $what, string $order): void
        {
            $file = getenv('SHOP_FILE');
            $known = is_file($file) ? file($file, FILE_IGNORE_NEW_LINES) : [];
            $line = "$what $order";
            if (! in_array($id, $known) && ($what !== 'fulfilled' || ! in_array($line, $known))) {
                file_put_contents('php://stderr', "$line\n");
            }
            file_put_contents($file, "$id\n$line\n", FILE_APPEND);
        }
    }
}

namespace {
    require 'Illuminate/Http/autoload.php'; // Debian's php-illuminate-http
    require __DIR__.'/DollrCallback.php';

    $controller = new App\Http\Controllers\DollrCallback(new App\Shop(), getenv('DOLLR_CALLBACK_SECRET'));
    $controller(Illuminate\Http\Request::capture())->send();
}
