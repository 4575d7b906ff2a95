<?php

namespace App\Http\Controllers;

use Illuminate\Http\Request;
use Illuminate\Http\Response;

/**
 * Takes the callbacks of dollr-relay. In routes/api.php, which has no CSRF check:
 *   Route::post('/hooks/dollr', DollrCallback::class);
 *
 * Each call of the shop is one transaction that also remembers the webhook-id, and does nothing if that
 * is known already: callbacks come at least once. Bind App\Shop and this class's $secret in a provider.
 */
class DollrCallback
{
    public function __construct(private \App\Shop $shop, private string $secret)
    {
    }

    public function __invoke(Request $request): Response
    {
        $body = $request->getContent(); // the raw bytes, as they were signed
        if (! $this->signed($request, $body)) {
            return new Response('not signed by our relay', 401);
        }
        $event = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        $id = $request->header('webhook-id');
        $order = $event['data']['metadata']['order'] ?? '';
        if ($event['test'] ?? false) {
            return new Response('', 204); // from `callbacks trigger`: nothing was paid
        }
        match ($event['type']) {
            'payment.succeeded' => $this->shop->fulfil($id, $order), // once per order, whatever payment it was
            'payment.failed', 'payment.canceled', 'payment.expired' => $this->shop->notPaid($id, $order), // a success may come later
            'payment.mismatch', 'payment.contradicted' => $this->shop->askPerson($id, $order), // money and order do not agree
            default => null,
        };

        return new Response('', 204); // an exception becomes a 500, and the relay tries again
    }

    /**
     * Standard Webhooks by hand. With `composer require standard-webhooks/standard-webhooks` it is
     * (new \StandardWebhooks\Webhook($this->secret))->verify($body, $headers), which throws.
     */
    private function signed(Request $request, string $body): bool
    {
        $id = $request->header('webhook-id', '');
        $timestamp = $request->header('webhook-timestamp', '');
        if ($id === '' || ! ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
            return false; // five minutes: a recorded callback cannot be replayed later
        }
        $key = base64_decode(substr($this->secret, strlen('whsec_')));
        $want = 'v1,'.base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
        foreach (explode(' ', $request->header('webhook-signature', '')) as $signature) { // one per secret of the relay
            if (hash_equals($want, $signature)) {
                return true;
            }
        }

        return false;
    }
}
