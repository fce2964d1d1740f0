/* The page: styles, a script that draws the report as SVG, and the report as
 * JSON in it. */
#include "analysis/report.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const char head[] =
"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
"<title>relive session</title>\n<style>\n"
"body{font:14px/1.4 system-ui,sans-serif;margin:0;background:#f4f5f7;color:#1c2430}\n"
"header{background:#1c2430;color:#fff;padding:12px 20px}\n"
"header h1{font-size:18px;margin:0}header p{margin:2px 0;color:#b9c4d4}\n"
"main{padding:12px 20px;display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:12px}\n"
"section{background:#fff;border:1px solid #d7dce3;border-radius:6px;padding:10px;overflow:hidden}\n"
"section.wide{grid-column:1/-1}h2{font-size:14px;margin:0 0 6px}\n"
"svg{width:100%;display:block;cursor:crosshair}svg text{font-size:10px;fill:#5a6675}\n"
"#strip{display:flex;gap:6px;overflow-x:auto}#strip figure{margin:0;flex:none;cursor:pointer}\n"
"#strip img{height:110px;max-width:220px;object-fit:contain;background:#000;border:1px solid #888;display:block}figcaption{font-size:11px;color:#5a6675}\n"
"pre{max-height:320px;overflow:auto;background:#10151d;color:#d6e2f0;padding:8px;margin:0;font-size:12px}\n"
"pre span:hover{background:#33415a;cursor:pointer}table{border-collapse:collapse;width:100%}\n"
"td,th{text-align:left;padding:2px 8px;border-bottom:1px solid #eceff3}td.n{text-align:right}\n"
".crash{border-color:#c0392b;background:#fdf1ef}\n"
"#copied{position:fixed;right:16px;bottom:16px;background:#1c2430;color:#fff;padding:8px 12px;border-radius:6px;display:none;font-family:monospace}\n"
"</style></head><body>\n<header><h1 id=\"title\"></h1><p id=\"facts\"></p></header>\n"
"<main id=\"main\"></main><div id=\"copied\"></div>\n"
"<script type=\"application/json\" id=\"report\">";

static const char tail[] =
"</script>\n<script>\n'use strict';\n"
"const R=JSON.parse(document.getElementById('report').textContent);\n"
"const span=Math.max(1,R.end-R.start),per=R.cpu_mhz*1e6;\n"
"const time=t=>(t/per).toFixed(3)+' s';\n"
"function el(tag,attrs,text){const svg=['svg','path','rect','line','text','g','title'].includes(tag);"
"const e=svg?document.createElementNS('http://www.w3.org/2000/svg',tag):document.createElement(tag);"
"for(const k in attrs||{})e.setAttribute(k,attrs[k]);if(text!==undefined)e.textContent=text;return e;}\n"
"function section(id,title,wide){const s=el('section',{id:id,class:wide?'wide':''});s.append(el('h2',{},title));"
"document.getElementById('main').append(s);return s;}\n"
"function command(t){return 'relive debug '+R.session+' --at '+Math.round(t);}\n"
"function copy(t){const c=command(t),d=document.getElementById('copied');d.textContent=c;d.style.display='block';"
"if(navigator.clipboard)navigator.clipboard.writeText(c).catch(()=>{});}\n"
"const W=800;function x(t){return 40+(t-R.start)/span*(W-50);}\n"
"function chart(s,series,unit,stacked){const H=120,svg=el('svg',{viewBox:'0 0 '+W+' '+(H+16)});let top=0;\n"
" const n=series[0].values.length;for(let i=0;i<n;i++){let v=0;for(const r of series)v=stacked?v+r.values[i]:Math.max(v,r.values[i]);top=Math.max(top,v);}\n"
" top=top||1;const y=v=>H-6-(v/top)*(H-16);let base=new Array(n).fill(0);\n"
" for(const r of series){let d='';for(let i=0;i<n;i++){const t0=x(R.points[i].tick),t1=x(R.points[i+1].tick),v=base[i]+r.values[i];"
"d+=(i?'L':'M')+t0.toFixed(1)+' '+y(v).toFixed(1)+'L'+t1.toFixed(1)+' '+y(v).toFixed(1);}\n"
"  if(stacked){for(let i=n-1;i>=0;i--){d+='L'+x(R.points[i+1].tick).toFixed(1)+' '+y(base[i]).toFixed(1)+'L'+x(R.points[i].tick).toFixed(1)+' '+y(base[i]).toFixed(1);}d+='Z';}\n"
"  svg.append(el('path',{d:d,class:'series',fill:stacked?r.color:'none',stroke:r.color,'stroke-width':stacked?0:1.2}));\n"
"  if(stacked)base=base.map((b,i)=>b+r.values[i]);}\n"
" svg.append(el('text',{x:2,y:12},top.toPrecision(3)+' '+unit));svg.append(el('text',{x:2,y:H-4},'0'));\n"
" for(let k=0;k<=5;k++){const t=R.start+span*k/5;svg.append(el('text',{x:Math.min(x(t),W-50),y:H+12},time(t)));}\n"
" let at=120;for(const r of series){svg.append(el('rect',{x:at,y:2,width:8,height:8,fill:r.color}));svg.append(el('text',{x:at+12,y:10},r.name));at+=24+r.name.length*6;}\n"
" svg.addEventListener('click',e=>{const b=svg.getBoundingClientRect();const px=(e.clientX-b.left)/b.width*W;"
"copy(Math.min(R.end,Math.max(R.start,R.start+(px-40)/(W-50)*span)));});\n"
" s.append(svg);}\n"
"function row(table,cells){const tr=el('tr');cells.forEach((c,i)=>tr.append(el('td',{class:i?'n':''},c)));table.append(tr);}\n"
"document.getElementById('title').textContent=R.session;\n"
"document.getElementById('facts').textContent=[R.version||'guest unknown',time(R.end)+' of guest time',R.points[R.points.length-1].insns.toLocaleString('en')+' instructions','ended: '+R.reason,'recorded '+new Date(R.created*1000).toISOString().slice(0,16),R.build].join(' \\u00b7 ');\n"
"if(R.crash.kind!=='none'){const s=section('crash','Crash: '+R.crash.kind,true);s.classList.add('crash');s.append(el('p',{},R.crash.text));"
"const c=el('code',{},command(R.crash.tick)+' --gdb');c.onclick=()=>copy(R.crash.tick);s.append(c);}\n"
"const strip=section('screens','Screen ('+R.pictures.length+' changes seen)',true);const bar=el('div',{id:'strip'});strip.append(bar);\n"
"for(const p of R.pictures){const f=el('figure'),i=el('img',{src:p.png,alt:'screen at '+time(p.tick)});f.append(i,el('figcaption',{},time(p.tick)));f.onclick=()=>copy(p.tick);bar.append(f);}\n"
"const N=R.points.length-1,diff=f=>R.points.slice(1).map((p,i)=>f(p)-f(R.points[i]));\n"
"const sec=diff(p=>p.tick).map(t=>Math.max(t,1)/per),host=diff(p=>p.ns).map(n=>Math.max(n,1)/1e3);\n"
"chart(section('mips','Speed (million instructions per host second)'),[{name:'MIPS',color:'#2471a3',values:diff(p=>p.insns).map((v,i)=>Math.max(0,v)/host[i])}],'MIPS');\n"
"chart(section('tiers','Instructions by tier'),[0,1,2].map(k=>({name:'tier '+k,color:['#c0392b','#e6a23c','#27ae60'][k],values:diff(p=>p.tiers[k]).map(v=>Math.max(0,v)/1e6)})),'M',true);\n"
"chart(section('interrupts','Interrupts and exceptions per guest second'),[{name:'interrupts',color:'#8e44ad',values:R.interrupts.map((v,i)=>v/sec[i])},{name:'exceptions',color:'#d35400',values:R.exceptions.map((v,i)=>v/sec[i])}],'/s');\n"
"{const s=section('events','Events ('+R.events.length+')'),svg=el('svg',{viewBox:'0 0 '+W+' 70'}),types=[...new Set(R.events.map(e=>e[1]))];\n"
" types.forEach((t,k)=>svg.append(el('text',{x:2,y:12+k*12},t)));\n"
" for(const e of R.events){const l=el('line',{x1:x(e[0])+30,x2:x(e[0])+30,y1:4+types.indexOf(e[1])*12,y2:13+types.indexOf(e[1])*12,stroke:'#2471a3',class:'event'});l.append(el('title',{},e[1]+' at '+time(e[0])));l.addEventListener('click',()=>copy(e[0]));svg.append(l);}s.append(svg);}\n"
"{const s=section('processes','Processes by CPU time'),t=el('table'),all=Object.entries(R.processes).sort((a,b)=>b[1]-a[1]||(a[0]<b[0]?-1:1)),sum=all.reduce((a,p)=>a+p[1],0)||1;\n"
" for(const [k,v] of all.slice(0,20)){const i=k.indexOf(' ');row(t,[k.slice(i+1)+' ('+k.slice(0,i)+')',time(v),(100*v/sum).toFixed(1)+' %']);}s.append(t);if(!all.length)s.append(el('p',{},'No system was recognised.'));}\n"
"{const s=section('jit','JIT and memory'),t=el('table'),j=R.jit,sum=j.tier_insns.reduce((a,b)=>a+b,0)||1;\n"
" row(t,['compiling',j.enabled?'on':'off']);j.tier_insns.forEach((v,k)=>row(t,['tier '+k+' instructions',v.toLocaleString('en')+' ('+(100*v/sum).toFixed(2)+' %)']));\n"
" row(t,['slow translations',j.translate_slow_calls.toLocaleString('en')]);row(t,['page walks',j.page_walks.toLocaleString('en')]);row(t,['MMIO accesses',j.mmio.toLocaleString('en')]);row(t,['port accesses',j.ports.toLocaleString('en')]);s.append(t);}\n"
"{const s=section('serial','Serial line',true),p=el('pre');for(const c of R.serial){const e=el('span',{title:time(c[0])},c[1]);e.onclick=()=>copy(c[0]);p.append(e);}s.append(p);}\n"
"document.body.dataset.ready='yes';\n"
"</script></body></html>\n";
/* clang-format on */

/* In a script element nothing may look like a tag. */
static void put_json(const char *text, struct writer *out)
{
    for (const char *c = text; *c; c++)
        if (*c == '<')
            writer_bytes(out, "\\u003c", 6);
        else
            writer_bytes(out, c, 1);
}

bool report_page(const json_t *report, struct writer *out)
{
    char *text = json_dumps(report, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        return false;
    writer_bytes(out, head, sizeof head - 1);
    put_json(text, out);
    writer_bytes(out, tail, sizeof tail - 1);
    free(text);
    return !out->failed;
}
