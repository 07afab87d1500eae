(() => {
  const root = document.documentElement;
  const all = (query, node = document) => [...node.querySelectorAll(query)];
  root.classList.add('has-js');

  // Light or dark: what the reader chose, else what the system says.
  const store = { get: () => { try { return localStorage.getItem('epoch0-theme'); } catch { return null; } },
                  set: value => { try { localStorage.setItem('epoch0-theme', value); } catch { } } };
  const dark = () => root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  const toggle = document.getElementById('theme');
  const say = () => { toggle.textContent = dark() ? 'Light' : 'Dark'; toggle.setAttribute('aria-label', `Switch to ${dark() ? 'light' : 'dark'} colors`); };
  if (['light', 'dark'].includes(store.get())) root.dataset.theme = store.get();
  toggle.addEventListener('click', () => { root.dataset.theme = dark() ? 'light' : 'dark'; store.set(root.dataset.theme); say(); });
  say();

  // Tables sort by a column: up, down, as they were.
  const number = text => text === 'inf' ? Infinity : text === '-inf' ? -Infinity : parseFloat(text.replace(/,/g, ''));
  const compare = (numeric, sign) => (a, b) => {
    const [x, y] = [a, b].map(row => row.key);
    if (!numeric) return sign * x.localeCompare(y, undefined, { numeric: true });
    const [m, n] = [number(x), number(y)];
    return Number.isNaN(m) - Number.isNaN(n) || sign * (m - n) || 0;
  };
  for (const table of all('table')) {
    const body = table.tBodies[0], rows = [...body.rows];
    all('thead th', table).forEach((head, column) => {
      const button = document.createElement('button');
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const next = { ascending: 'descending', descending: null }[head.getAttribute('aria-sort')] ?? (head.getAttribute('aria-sort') ? null : 'ascending');
        all('thead th', table).forEach(other => other.removeAttribute('aria-sort'));
        if (next) head.setAttribute('aria-sort', next);
        const keyed = rows.map(row => ({ row, key: row.cells[column].textContent.trim() }));
        if (next) keyed.sort(compare(head.classList.contains('n'), next === 'ascending' ? 1 : -1));
        body.append(...keyed.map(({ row }) => row));
      });
    });
    const search = table.closest('.table').querySelector('input');
    search?.addEventListener('input', () => {
      const wanted = search.value.toLowerCase();
      for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    });
  }

  // The data of the page, as a file.
  document.getElementById('save').addEventListener('click', () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([document.getElementById('data').textContent], { type: 'application/json' }));
    link.download = `${document.title.replace(/[^\w.-]+/g, '_')}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
})();
