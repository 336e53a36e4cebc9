/** Reads the address that is given to it to its end, again and again until it is killed, and throws the text away. */

const [, , address = '', authorization = ''] = process.argv;

while (true) {
  const answer = await fetch(address, { headers: { authorization } });
  if (!answer.ok) throw new Error(`${address} was answered ${answer.status}.`);
  for await (const _part of answer.body ?? []);
}
