import { icons } from "./style";

const keys = [...Object.keys(icons), "slow", "offline", "degraded"];

/** What the element says, in the order of the keys. A payment is called failed only where Dollr said so. */
const languages: Record<string, string> = {
  en:
    "Waiting for your payment|Confirming your payment|Payment received|Payment failed|Payment canceled|We are reviewing your payment|No confirmation yet|Your payment is still being checked. Do not pay again.|Reconnecting…|This is taking longer than usual.",
  fr:
    "En attente de votre paiement|Confirmation de votre paiement|Paiement reçu|Paiement échoué|Paiement annulé|Nous vérifions votre paiement|Pas encore de confirmation|Nous vérifions encore votre paiement. Ne payez pas à nouveau.|Reconnexion…|C’est plus long que prévu.",
  pt:
    "À espera do seu pagamento|A confirmar o seu pagamento|Pagamento recebido|Pagamento falhado|Pagamento cancelado|Estamos a verificar o seu pagamento|Ainda sem confirmação|Ainda estamos a verificar o seu pagamento. Não pague de novo.|A religar…|Está a demorar mais que o normal.",
  sw:
    "Tunasubiri malipo yako|Tunathibitisha malipo yako|Malipo yamepokelewa|Malipo hayakufanikiwa|Malipo yameghairiwa|Tunakagua malipo yako|Bado hakuna uthibitisho|Bado tunakagua malipo yako. Usilipe tena.|Tunaunganisha tena…|Inachukua muda mrefu kuliko kawaida.",
  ar:
    "في انتظار الدفع|جارٍ تأكيد الدفع|تم استلام الدفع|فشل الدفع|أُلغي الدفع|نراجع الدفع|لا يوجد تأكيد بعد|ما زلنا نراجع الدفع. لا تدفع مرة أخرى.|جارٍ إعادة الاتصال…|يستغرق وقتًا أطول من المعتاد.",
};

/** The language to speak to somebody who wants `wanted` (a BCP 47 tag). */
export const languageOf = (wanted: string) => (languages[wanted.slice(0, 2)] ? wanted.slice(0, 2) : "en");

/** The text of a key in a language that languageOf brought. */
export const textOf = (language: string, key: string) => languages[language]!.split("|")[keys.indexOf(key)]!;
